"""`Fields`: the keys of a mapping, read by a table that says how to read each."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gateway.config import scalar
from gateway.config.node import Node, quote
from gateway.config.problem import InvalidError
from gateway.config.scalar import Reader
from gateway.settings.size import Bytes

Table = Mapping[str, Reader]
"""The keys that a mapping may have, and how to read each."""

T = TypeVar("T")

_BY_TYPE: dict[Any, Reader] = {
    bool: scalar.boolean,
    int: scalar.whole(1, 1_000_000_000),
    float: scalar.seconds(),
    str: scalar.text,
    Path: scalar.file,
    Bytes: scalar.size,
}


def table_of(kind: type, *, leave_out: Collection[str] = (), **special: Reader) -> dict[str, Reader]:
    """The table of a dataclass: its fields are the keys, and each is read by its type unless it is in `special`."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        entry.name: special.get(entry.name) or _reader(hints[entry.name])
        for entry in fields(kind)
        if entry.name not in leave_out
    }


def _reader(hint: Any) -> Reader:
    if get_origin(hint) in {Union, UnionType}:
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        return scalar.choice(*get_args(hint))
    if is_dataclass(hint) and isinstance(hint, type):
        return section(hint, table_of(hint))
    return _BY_TYPE[hint]


def section(kind: Callable[..., T], table: Table, required: Collection[str] = ()) -> Callable[[Node], T]:
    """A mapping whose keys are the arguments of `kind`."""
    return lambda node: Fields(node, table, required).build(kind)


class Fields:
    """The keys of a mapping, read. What is wrong has been noted, and is left out.

    Args:
        node: The mapping.
        table: The keys there are.
        required: Those that have to be there.

    Attributes:
        node: The mapping.
        values: What was read, by key.

    Raises:
        InvalidError: it is not a mapping.
    """

    __slots__ = ("_children", "_required", "node", "values")

    def __init__(self, node: Node, table: Table, required: Collection[str] = ()) -> None:
        self.node = node
        self.values: dict[str, Any] = {}
        self._required = required
        self._children: dict[str, Node] = {}
        for key, (key_node, child) in node.entries(table).items():
            reader = table.get(key)
            if reader is None:
                listed = ", ".join(sorted(table))
                key_node.refuse(f"there is no key {quote(key)} here; there is {listed}", node.nearest(key, table))
            else:
                self.put(key, child, reader)
        for key in required:
            if key not in self._children:
                node.refuse(f"the key {key!r} is missing")

    def put(self, key: str, child: Node, reader: Reader) -> None:
        """Read a key from somewhere else, over what stands in the mapping."""
        self._children[key] = child
        self.values.pop(key, None)
        with suppress(InvalidError):
            self.values[key] = reader(child)

    def at(self, key: str) -> Node:
        """Where `key` stands; the mapping when it does not."""
        return self._children.get(key, self.node)

    def __contains__(self, key: str) -> bool:
        """Whether `key` stands there, right or wrong."""
        return key in self._children

    def said(self, key: str, standard: T) -> T | None:
        """What was read for `key`; `standard` when it does not stand there, None when it is wrong."""
        value: T | None = self.values.get(key, None if key in self else standard)
        return value

    def one_of(self, *keys: str) -> str | None:
        """Which of several keys stands there; None when none does, or more than one, which is noted."""
        given = [key for key in keys if key in self]
        if len(given) > 1:
            self.at(given[1]).refuse(f"{given[0]!r} stands here already; write one of the two")
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
