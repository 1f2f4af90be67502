"""Reads attributes of callers: their names, where an identity source finds them, and their values."""

from contextlib import suppress
from typing import TypeVar

from gateway.config.diagnostic import InvalidError
from gateway.config.node import Node, quote
from gateway.config.reader import Reader, Value, reads, string
from gateway.config.scalar import each, text
from gateway.limits.holder import ATTRIBUTE_NAME, RESERVED, is_attribute_name

T = TypeVar("T")

_MAX_ATTRIBUTES = 16
"""Of one source."""


@reads("attribute", string(f"^{ATTRIBUTE_NAME}$"))
def attribute(node: Node) -> str:
    """The name of an attribute."""
    value = text(node)
    if value in RESERVED:
        raise node.refuse(f"{quote(value)} means something else in rules; give the attribute another name")
    if not is_attribute_name(value):
        raise node.refuse(
            f"{quote(value)} is not the name of an attribute; write at most 32 of a-z, 0-9, _ and -, starting with a "
            "letter, such as org"
        )
    return value


def by_attribute(reader: Reader[T], words: str) -> Value[dict[str, T]]:
    """A mapping from attributes to what `reader` reads, called `words`."""

    def read(node: Node) -> dict[str, T]:
        found: dict[str, T] = {}
        entries = node.entries()
        if not entries:
            raise node.refuse("there is no attribute here; write one, or remove the key")
        if len(entries) > _MAX_ATTRIBUTES:
            raise node.refuse(f"a source has at most {_MAX_ATTRIBUTES} attributes")
        for key_node, child in entries.values():
            with suppress(InvalidError):
                found[attribute(key_node)] = reader(child)
        return found

    schema = {"type": "object", "minProperties": 1, "propertyNames": attribute.schema, "additionalProperties": reader}
    return Value(read, f"{words}, by attribute", schema)


_listed = each(text, least=1)
values = by_attribute(_listed, "list of values").then(
    lambda found: frozenset((name, value) for name, several in found.items() for value in several)
)
"""Lists of values by attribute: whoever has one of them."""
