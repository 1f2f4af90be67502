"""Reads `per` and `if_missing` of a limit: who has a bucket, and what becomes of callers who lack an attribute."""

from collections.abc import Collection, Sequence

from gateway.config.attribute import attribute
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.number import whole
from gateway.config.reader import reads, string
from gateway.config.scalar import choice, text
from gateway.config.section import Section
from gateway.limits.holder import (
    ADDRESS,
    ALL,
    ATTRIBUTE_NAME,
    CLIENT,
    ENDPOINT,
    NETWORK,
    USER,
    Holder,
    Part,
    Prefixes,
)
from gateway.limits.limit import Limit, Missing

_IPV6_PREFIX = whole(1, CLIENT.ipv6)
_WORDS = (USER, ADDRESS, ENDPOINT)
if_missing = choice(*(each.value for each in Missing)).then(Missing)

Sources = Sequence[Collection[str]]
"""The attributes that each identity source may find."""


def _ipv6(node: Node) -> int:
    bits = whole(1, 128)(node)
    if bits > CLIENT.ipv6:
        raise node.refuse(
            f"one IPv6 client has a whole /{CLIENT.ipv6}, so a longer prefix would give it many buckets; write at most "
            f"{CLIENT.ipv6}"
        )
    return bits


PREFIXES = Section(
    "limits.per.network",
    {"ipv4": whole(1, CLIENT.ipv4), "ipv6": reads(_IPV6_PREFIX.words, _IPV6_PREFIX.schema)(_ipv6)},
    (Prefixes,),
    lambda entries: entries.build(Prefixes),
    required=("ipv4", "ipv6"),
    about="The clients of a network share a bucket.",
    meanings={"ipv4": "Length of the prefix of IPv4 addresses.", "ipv6": "Length of the prefix of IPv6 addresses."},
)

_network_schema = {
    "type": "object",
    "properties": {NETWORK: PREFIXES},
    "required": [NETWORK],
    "additionalProperties": False,
}
_part_schema = {"anyOf": [{"enum": list(_WORDS)}, string(f"^{ATTRIBUTE_NAME}$"), _network_schema]}


def _part(node: Node) -> Part:
    if node.is_scalar:
        word = text(node)
        if word == NETWORK:
            raise node.refuse("say how large the networks are: per: {network: {ipv4: 24, ipv6: 48}}")
        return word if word in (*_WORDS, ALL) else attribute(node)
    entries = node.entries()
    if set(entries) != {NETWORK}:
        raise node.refuse("a mapping here is that of a network: {network: {ipv4: 24, ipv6: 48}}")
    prefixes = PREFIXES(entries[NETWORK][1])
    if prefixes == CLIENT:
        raise entries[NETWORK][1].refuse(f"this is one client; write per: {ADDRESS}")
    return prefixes


@reads(
    "`user`, `address`, `endpoint`, `all`, the name of an attribute, a network, or a list of these",
    {
        "anyOf": [
            {"const": ALL},
            *_part_schema["anyOf"],
            {"type": "array", "items": _part_schema, "minItems": 1, "uniqueItems": True},
        ]
    },
)
def per(node: Node) -> tuple[Part, ...]:
    """Of what a limit has a bucket each: whoever it is, and then the endpoint."""
    if not node.is_list:
        part = _part(node)
        return () if part == ALL else (part,)
    items = node.items()
    if not items:
        raise node.refuse("the list is empty")
    parts: list[Part] = []
    for item in items:
        part = _part(item)
        if part == ALL:
            raise item.refuse("'all' stands alone: one bucket for all that the limit counts")
        if part in parts:
            raise item.refuse("duplicate item in this list")
        parts.append(part)
    callers = [part for part in parts if part != ENDPOINT]
    if len(callers) > 1 and any(isinstance(part, Prefixes) or part == ADDRESS for part in callers):
        raise node.refuse(
            "an address or a network stands with 'endpoint' only; write two limits, and a request has to pay both"
        )
    return (*callers, *[ENDPOINT] * (ENDPOINT in parts))


def check_attributes(entries: Entries, parts: Sequence[Part], sources: Sources | None) -> None:
    """Note an attribute that no identity source names, and one without `if_missing`, or that without an attribute.

    Args:
        entries: Of the limit.
        parts: What it is per.
        sources: The attributes of each identity source; None when they are not known.
    """
    holder = Holder.of(parts)
    attributes = holder.attributes if holder else ()
    if not attributes:
        if "if_missing" in entries:
            entries.at("if_missing").refuse("nothing can be missing here; this is for limits per attribute")
        return
    known = set(attributes) if sources is None else {name for source in sources for name in source}
    for name in attributes:
        if name not in known:
            node = entries.at("per")
            there = f"the attributes there are {', '.join(sorted(known))}" if known else "there are no attributes"
            node.refuse(
                f"{quote(name)} is neither {', '.join(_WORDS)} nor the name of an attribute of a source in 'identity'; "
                f"{there}",
                node.nearest(name, [*known, *_WORDS, ALL]),
            )
            return
    if "if_missing" not in entries:
        entries.at("per").refuse(
            f"not every caller has {_and(attributes)}: write if_missing: skip (such requests are not counted), refuse "
            "(they get a 429) or shared (they share one bucket)"
        )
    if sources is None:
        return
    if not any(set(attributes) <= set(source) for source in sources):
        entries.at("per").warn(
            f"no identity source names all of {_and(attributes)}, so no caller can ever have them together"
        )


def check_named(node: Node, pairs: Collection[tuple[str, str]], sources: Sources | None) -> None:
    """Note attributes of an exemption or a block that no identity source names, so that they match nobody.

    Args:
        node: What names them.
        pairs: Their names and values.
        sources: The attributes of each identity source; None when they are not known.
    """
    if sources is None:
        return
    known = {name for source in sources for name in source}
    for name in sorted({name for name, _ in pairs} - known):
        node.refuse(
            f"no source in 'identity' names the attribute {quote(name)}, so nobody can have it",
            node.nearest(name, known),
        )


def warn_of_skipped(entries: Entries, limit: Limit, others: Collection[Limit], endpoints: Collection[str]) -> None:
    """Warn of endpoints where a caller without the attribute is under no limit at all.

    Args:
        entries: Of the limit.
        limit: The limit.
        others: All limits.
        endpoints: Names of all endpoints.
    """
    holder = limit.holder
    if not holder or not holder.attributes or limit.if_missing is not Missing.SKIP or not limit.refuses:
        return
    counting = [each for each in others if each.refuses and not _skips(each)]
    open_ = [
        name for name in endpoints if limit.applies_to(name) and not any(other.applies_to(name) for other in counting)
    ]
    if open_:
        more = f" and {len(open_) - 1} more" if len(open_) > 1 else ""
        entries.at("if_missing").warn(
            f"callers without {_and(holder.attributes)} are under no limit at {open_[0]}{more}: whoever leaves out the "
            "credential is one. Write shared or refuse, or add a limit per user, which counts clients by address"
        )


def _skips(limit: Limit) -> bool:
    return bool(limit.holder and limit.holder.attributes) and limit.if_missing is Missing.SKIP


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)
