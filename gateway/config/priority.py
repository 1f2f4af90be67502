"""Reads priorities, of endpoints and `tiers`, and `reserve` of limits."""

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.reader import Value, reads, string
from gateway.config.scalar import choice, text
from gateway.config.section import Section
from gateway.limits.charge import ceiling_of
from gateway.limits.endpoint import Endpoint
from gateway.limits.limit import Limit
from gateway.limits.priority import Priority, Reserve, format_part, priority_of
from gateway.limits.quota import Quota

_PART = r"[0-9]{1,2}(\.[0-9]{1,4})?%"

priority = choice(*(each.value for each in Priority)).then(Priority)


@reads("percentage", string(f"^{_PART}$"), show=format_part)
def part(node: Node) -> float:
    """A part of a bucket: a percentage below 100%, such as ``20%``."""
    value = node.plain("a percentage")
    if re.fullmatch(_PART, value, re.ASCII) is None:
        raise node.refuse(f"{quote(value)} is not a part of a bucket; write a percentage below 100%, as in 20%")
    return float(value[:-1]) / 100


def _build(entries: Entries) -> Reserve:
    if not entries.node.entries():
        raise entries.node.refuse("this keeps nothing; write 'normal' or 'low' with a percentage")
    normal = entries.get("normal", 0.0)
    low = entries.get("low", normal)
    if normal is None or low is None:
        raise InvalidError
    try:
        return Reserve(normal, low)
    except ValueError as error:
        raise entries.at("low").refuse(f"{error}; write {format_part(normal)} or more") from None


RESERVE = Section(
    "limits.reserve",
    {"normal": part, "low": part},
    (Reserve,),
    _build,
    about="The parts of a limit's buckets that are kept for requests of a higher priority.",
    meanings={
        "normal": "The part that requests of normal priority leave to those of high priority; without it, 0%.",
        "low": "The part that requests of low priority leave to all others; without it, as much as `normal`.",
    },
)
_TIER = Section(
    "tiers.NAME",
    {"priority": priority},
    (),
    lambda entries: entries,
    required=("priority",),
    about="A tier of callers.",
    meanings={"priority": "How much requests of its callers matter whose endpoint has no priority."},
)


def _read_tiers(node: Node) -> dict[str, tuple[Node, Priority]]:
    """The priority of each tier, and where its name stands."""
    found = {}
    for key_node, child in node.entries().values():
        with suppress(InvalidError):
            tier, entries = text(key_node), _TIER(child)
            if "priority" in entries.values:
                found[tier] = (key_node, entries.values["priority"])
    return found


TIERS = Value(_read_tiers, "sections by tier", {"type": "object", "additionalProperties": _TIER})


def tier_priorities(files: Iterable[Entries]) -> dict[str, Priority]:
    """The priorities of tiers in all rule files; a tier may be in one of them only."""
    found: dict[str, tuple[Node, Priority]] = {}
    for entries in files:
        for tier, (node, of_tier) in entries.values.get("tiers", {}).items():
            if tier in found:
                node.refuse(f"duplicate tier {quote(tier)}; the first is at {found[tier][0].place}")
            else:
                found[tier] = (node, of_tier)
    return {tier: of_tier for tier, (_, of_tier) in found.items()}


def check_reserve(entries: Entries, limit: Limit) -> None:
    """Note a reserve that leaves less than one token of a bucket."""
    if limit.reserve:
        quotas: list[tuple[str, Quota]] = [("", limit.quota)]
        quotas += [(f" of tier {tier}", each) for tier, each in limit.tiers.items()]
        if limit.candidate is not None:
            quotas.append((" of the candidate", limit.candidate.quota))
            quotas += [(f" of the candidate for tier {tier}", each) for tier, each in limit.candidate.tiers.items()]
        for each_time in limit.schedule:
            quotas += [(" at the times of its schedule", size) for size in (each_time.quota, *each_time.tiers.values())]
        for who, size in quotas:
            for lower in (Priority.NORMAL, Priority.LOW):
                kept = limit.reserve.kept_from(lower)
                if ceiling_of(size, kept) < size.interval:
                    entries.at("reserve").refuse(
                        f"{format_part(kept)} of a bucket{who} that holds {size.burst} leaves less than one token to "
                        f"requests of {lower.value} priority, so none could pass; write a smaller part, or raise the "
                        f"{'burst' if size.calendar is None else 'quota'}"
                    )
                    return


def warn_of_unused(
    entries: Entries, limit: Limit, endpoints: Collection[Endpoint], priorities: Mapping[str, Priority]
) -> None:
    """Warn of a reserve that makes no difference in any bucket.

    Args:
        entries: Of the limit.
        limit: The limit.
        endpoints: Those that it counts.
        priorities: Of tiers.
    """
    of_tiers = {None, *priorities.values()}
    occurring = {priority_of(endpoint.priority, tier) for endpoint in endpoints for tier in of_tiers}
    # Requests that share a bucket: those of one endpoint or of all, and of callers in one tier or in all.
    by_endpoint = [[each] for each in endpoints] if limit.per_endpoint else [endpoints]
    by_tier = [[each] for each in of_tiers] if limit.holder is not None and limit.holder.user else [of_tiers]
    makes_a_difference = any(
        len({limit.reserve.kept_from(priority_of(endpoint.priority, tier)) for endpoint in some for tier in tiers}) > 1
        for some in by_endpoint
        for tiers in by_tier
    )
    if not makes_a_difference:
        entries.at("reserve").warn(
            "all requests that share a bucket of this limit leave the same part of it, so nobody can use what is kept; "
            "give an endpoint or a tier another 'priority', or remove the reserve"
        )
        return
    for lower in (Priority.NORMAL, Priority.LOW):
        node = entries.at("reserve")
        if limit.reserve.kept_from(lower) and lower not in occurring and _is_written(limit.reserve, lower):
            node.warn(
                f"no request that this limit counts has {lower.value} priority; give an endpoint or a tier 'priority: "
                f"{lower.value}', or remove the key '{lower.value}'"
            )


def _is_written(reserve: Reserve, lower: Priority) -> bool:
    """Whether a reserve has a key of its own for a priority; `low` without one equals `normal`."""
    return lower is Priority.NORMAL or reserve.low != reserve.normal
