"""`Section`: reads a mapping by a table of readers, and says what each key means."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from inspect import getdoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gateway.config.entries import Entries
from gateway.config.location import file
from gateway.config.node import Node
from gateway.config.number import UNBOUNDED, seconds, size, whole
from gateway.config.reader import Reader, Schema
from gateway.config.scalar import boolean, choice, text
from gateway.settings.size import Bytes

T = TypeVar("T")

Keys = Mapping[str, Reader[Any]]
"""The keys that a mapping may have, and how each is read."""

_BY_TYPE: dict[Any, Reader[Any]] = {
    bool: boolean,
    int: whole(1, UNBOUNDED),
    float: seconds(),
    str: text,
    Path: file,
    Bytes: size,
}


@dataclass(frozen=True, slots=True, eq=False)
class Section(Generic[T]):
    """A mapping in a YAML file: a reader of what is built from it.

    Attributes:
        path: Where it is, such as ``control.admin``; empty for the whole file.
        keys: The keys it may have.
        kinds: The classes that hold what is read: their docstrings say what keys mean, and their defaults apply.
        build: Makes the value of what was read.
        required: The keys it must have.
        about: What it is for; the first line of the first class' docstring if empty.
        meanings: What keys mean that no docstring describes, or describes for programmers.
        exclusive: Pairs of keys that exclude each other.
        one_of: Keys of which one is required; `build` says so if none is there.
    """

    path: str
    keys: Keys
    kinds: tuple[type, ...]
    build: Callable[[Entries], T]
    required: tuple[str, ...] = ()
    about: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)
    exclusive: tuple[tuple[str, str], ...] = ()
    one_of: tuple[str, ...] = ()

    def __call__(self, node: Node, /) -> T:
        return self.build(Entries(node, self.keys, self.required))

    @property
    def words(self) -> str:
        """What it is, for the type of the key that holds it."""
        return "section"

    @property
    def summary(self) -> str:
        """What it is for, in a sentence or two."""
        return self.about or _one_line((getdoc(self.kinds[0]) or "").partition("\n\n")[0])

    def meaning(self, key: str) -> str:
        """What a key means; empty if nothing says so, as when Python runs without docstrings."""
        documented = (_attributes(kind).get(key) for kind in self.kinds)
        return self.meanings.get(key) or next(filter(None, documented), "")

    @property
    def schema(self) -> Schema:
        """The section as JSON Schema."""
        keys = {key: {"description": self.meaning(key), **reader.schema} for key, reader in self.keys.items()}
        schema: Schema = {"type": "object", "properties": keys, "additionalProperties": False}
        if self.required:
            schema["required"] = list(self.required)
        if self.one_of:
            schema["anyOf"] = [{"required": [key]} for key in self.one_of]
        if self.exclusive:
            schema["allOf"] = [{"not": {"required": list(pair)}} for pair in self.exclusive]
        return schema


def keys_of(kind: type, *, leave_out: Collection[str] = (), **special: Reader[Any]) -> dict[str, Reader[Any]]:
    """A table for a dataclass: its fields are the keys, each read by its type unless it is in `special`."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        entry.name: special.get(entry.name) or _reader_of(hints[entry.name])
        for entry in fields(kind)
        if entry.name not in leave_out
    }


def _reader_of(hint: Any) -> Reader[Any]:
    if get_origin(hint) in {Union, UnionType}:
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if get_origin(hint) is Literal:
        return choice(*get_args(hint))
    return _BY_TYPE[hint]


def _attributes(kind: type) -> dict[str, str]:
    """What a class' docstring says of each attribute."""
    described = (getdoc(kind) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", described, re.MULTILINE)
    return {name: _one_line(text) for name, text in entries}


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("``", "`")
