"""`Entries`: the keys and values of a mapping, read by a table of readers."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from gateway.config.diagnostic import InvalidError
from gateway.config.node import Node, quote

T = TypeVar("T")


class Entries:
    """What was read from a mapping. What is wrong has been noted, and is left out.

    Args:
        node: The mapping.
        keys: The keys it may have, and how to read each.
        required: The keys it must have.

    Attributes:
        node: The mapping.
        values: What was read, by key.

    Raises:
        InvalidError: it is not a mapping.
    """

    __slots__ = ("_children", "_required", "node", "values")

    def __init__(self, node: Node, keys: Mapping[str, Callable[[Node], Any]], required: Collection[str] = ()) -> None:
        self.node = node
        self.values: dict[str, Any] = {}
        self._required = required
        self._children: dict[str, Node] = {}
        for key, (key_node, child) in node.entries(keys).items():
            reader = keys.get(key)
            if reader is None:
                known = ", ".join(sorted(keys))
                key_node.refuse(f"unknown key {quote(key)}; the keys here are {known}", node.nearest(key, keys))
            else:
                self.put(key, child, reader)
        for key in required:
            if key not in self._children:
                node.refuse(f"the key {key!r} is missing")

    def put(self, key: str, child: Node, reader: Callable[[Node], Any]) -> None:
        """Read a key from somewhere else, in place of what the mapping has."""
        self._children[key] = child
        self.values.pop(key, None)
        with suppress(InvalidError):
            self.values[key] = reader(child)

    def at(self, key: str) -> Node:
        """The value of `key`; the mapping if it has no such key."""
        return self._children.get(key, self.node)

    def __contains__(self, key: str) -> bool:
        """Whether the mapping has `key`, right or wrong."""
        return key in self._children

    def get(self, key: str, default: T) -> T | None:
        """What was read for `key`; `default` if the mapping has no such key, None if its value is wrong."""
        value: T | None = self.values.get(key, None if key in self else default)
        return value

    def one_of(self, *keys: str) -> str | None:
        """The one of several keys that the mapping has; None for none, and for more than one, which is noted."""
        given = [key for key in keys if key in self]
        if len(given) > 1:
            self.at(given[1]).refuse(f"{given[0]!r} is given as well; write one of the two")
            return None
        return given[0] if given else None

    def build(self, kind: Callable[..., T], **more: Any) -> T:
        """Call `kind` with what was read, and `more` over it.

        Raises:
            InvalidError: something that is required is missing or wrong.
        """
        values = self.values | more
        if any(key not in values for key in self._required):
            raise InvalidError
        return kind(**values)
