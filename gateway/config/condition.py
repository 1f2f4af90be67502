"""Reads the conditions of an endpoint, `headers` and `query`, and the headers of requests in rule tests."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.reader import Schema, Value, reads, scalar
from gateway.config.scalar import each, header, text
from gateway.limits.condition import HEADER, QUERY, Condition, Key

_MAX_VALUES = 1000
"""Combinations of values of one endpoint; each has a place in the router."""

_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie", "x-gateway-bypass"})
_REPLACED = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
    "upgrade", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id",
})  # fmt: skip
"""What the gateway removes, or writes itself."""

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


@reads("value", scalar("^(\\S(.*\\S)?)?$", maxLength=1024))
def _value(node: Node) -> str:
    """A text; an empty one has to be in quotes."""
    if node.is_scalar and node.scalar("a text") == "":
        return ""
    return text(node)


_listed = each(_value, least=1)


def _mapping(names: Schema, values: Schema) -> Schema:
    """Names, each with one value or a list of these."""
    one_or_more = {"anyOf": [_value.schema, values]}
    return {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": one_or_more}


def _values(node: Node) -> frozenset[str]:
    return frozenset({_value(node)} if node.is_scalar else _listed(node))


def _header(node: Node) -> str:
    called = header(node)
    lower = called.lower()
    if lower == "host":
        raise node.refuse("the Host is no condition; write the key 'host' of the endpoint")
    if lower in _SECRETS:
        raise node.refuse(f"{called} is a secret, and conditions are shown; limit callers by identity instead")
    if lower in _REPLACED:
        raise node.refuse(f"the gateway itself writes or removes {called}, so a condition cannot read it")
    if "_" in called:
        raise node.refuse(f"{called} is never forwarded, because of its underscore", repr(called.replace("_", "-")))
    return called


def _query_key(node: Node) -> str:
    key = text(node)
    if _ESCAPE.search(key):
        raise node.refuse(f"{quote(key)} has an escape; write the key as it is when it is decoded")
    if "&" in key:
        raise node.refuse(f"{quote(key)} is more than one key; write each on its own")
    return key


def _query_values(node: Node) -> frozenset[str]:
    values = _values(node)
    for value in sorted(values):
        if _ESCAPE.search(value):
            raise node.refuse(f"{quote(value)} has an escape; write the value as it is when it is decoded")
    return values


def _conditions(
    source: str, name: Callable[[Node], str], values: Callable[[Node], frozenset[str]]
) -> Callable[[Node], tuple[Condition, ...]]:
    def read(node: Node) -> tuple[Condition, ...]:
        found: dict[tuple[str, str], Condition] = {}
        entries = node.entries()
        if not entries:
            raise node.refuse("there is no condition here; write one, or remove the key")
        for key_node, child in entries.values():
            with suppress(InvalidError):
                condition = Condition(source, name(key_node), values(child))
                if condition.key in found:
                    key_node.refuse(f"{condition.name} is there twice; the case of a header's name does not matter")
                found[condition.key] = condition
        if len(found) < len(entries):
            raise InvalidError
        return tuple(found.values())

    return read


headers = Value(
    _conditions(HEADER, _header, _values),
    "value, or list of values, by header",
    _mapping(header.schema, _listed.schema),
)
"""Conditions on headers."""


def _request_headers(node: Node) -> tuple[tuple[str, str], ...]:
    found = []
    for key_node, child in node.entries().values():
        with suppress(InvalidError):
            called = _header(key_node)
            found += [(called, _value(item)) for item in ([child] if child.is_scalar else child.items())]
    return tuple(found)


request_headers = Value(
    _request_headers,
    headers.words,
    _mapping(header.schema, {"type": "array", "items": _value, "minItems": 1}),
)
"""Headers of a request that conditions can read; those in a list are sent one after the other."""

query = Value(
    _conditions(QUERY, _query_key, _query_values),
    "value, or list of values, by query key",
    _mapping({"minLength": 1}, _listed.schema),
)
"""Conditions on the query."""


def check_number(entries: Entries) -> None:
    """Refuse conditions of an endpoint that have too many combinations of values."""
    combinations = 1
    for key in ("headers", "query"):
        for condition in entries.values.get(key, ()):
            combinations *= len(condition.values)
        if combinations > _MAX_VALUES:
            entries.at(key).refuse(
                f"these lists have more than {_MAX_VALUES} combinations of values; make more endpoints of this one"
            )
            entries.values.pop(key)
            return


def example_of(conditions: Iterable[Condition]) -> str:
    """What a request has that meets all of these conditions."""
    titles: dict[Key, str] = {}
    values: dict[Key, frozenset[str]] = {}
    for condition in conditions:
        titles.setdefault(condition.key, condition.title)
        values[condition.key] = values.get(condition.key, condition.values) & condition.values
    return " and ".join(f"{title} {quote(min(values[key]))}" for key, title in titles.items())
