"""Readers of texts, choices and lists.

A text takes any scalar as it is written, so ``name: no`` is the name "no". A boolean is only ``true`` or ``false``.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from gateway.config.diagnostic import InvalidError
from gateway.config.node import Node, quote
from gateway.config.reader import Reader, Schema, Value, reads, scalar, string

T = TypeVar("T")

_MAX_TEXT_LENGTH = 1024
_TRUE = {"yes", "on", "y", "true", "1"}
_FALSE = {"no", "off", "n", "false", "0"}


@reads("text", scalar(r"^\S(.*\S)?$", maxLength=_MAX_TEXT_LENGTH))
def text(node: Node) -> str:
    """A text that is not empty and fits on one line."""
    value = node.scalar("a text")
    if not value.strip():
        raise node.refuse("the text is empty")
    if len(value) > _MAX_TEXT_LENGTH:
        raise node.refuse(f"the text is longer than {_MAX_TEXT_LENGTH} characters")
    if not value.isprintable():
        raise node.refuse("the text contains a line break or a control character")
    if value != value.strip():
        raise node.refuse("the text starts or ends with a space")
    return value


def matching(pattern: str, words: str, why: str, *, any_scalar: bool = True) -> Value[str]:
    """A text that matches `pattern`; any other is refused with the text itself, followed by `why`."""
    form = re.compile(pattern, re.ASCII)

    def read(node: Node) -> str:
        value = text(node)
        if form.fullmatch(value) is None:
            raise node.refuse(f"{quote(value)} {why}")
        return value

    return Value(read, words, scalar(f"^{pattern}$") if any_scalar else string(f"^{pattern}$"))


NAME = "[a-z0-9][a-z0-9_-]{0,63}"
"""What can be the label of a metric and part of a key in Redis."""

name = matching(NAME, "name", "is not a name; write at most 64 of a-z, 0-9, _ and -, starting with a letter or digit")
header = matching("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", "header", "is not the name of a header", any_scalar=False)
"""The name of a header (RFC 9110 section 5.1)."""


@reads("true or false", {"type": "boolean"}, show=lambda value: str(value).lower())
def boolean(node: Node) -> bool:
    """``true`` or ``false``."""
    value = node.plain("true or false")
    if value not in {"true", "false"}:
        near = "true" if value.lower() in _TRUE else "false" if value.lower() in _FALSE else ""
        raise node.refuse(f"{quote(value)} is neither true nor false", near)
    return value == "true"


def choice(*options: str) -> Value[str]:
    """One of `options`."""

    def read(node: Node) -> str:
        value = text(node)
        if value not in options:
            listed = ", ".join(options[:-1]) + f" or {options[-1]}"
            raise node.refuse(
                f"{quote(value)} is not one of the options; write {listed}", node.nearest(value.lower(), options)
            )
        return value

    *others, last = [f"`{option}`" for option in options]
    return Value(read, f"{', '.join(others)} or {last}", {"enum": list(options)})


def parsed(parse: Callable[[str], T], words: str, schema: Schema) -> Value[T]:
    """Whatever `parse` makes of a text; it raises ValueError to say what is wrong."""

    def read(node: Node) -> T:
        try:
            return parse(text(node))
        except ValueError as error:
            raise node.refuse(str(error)) from None

    return Value(read, words, schema)


def each(reader: Reader[T], *, least: int = 0) -> Value[tuple[T, ...]]:
    """A list of what `reader` reads, without duplicates; bad items are noted and left out."""

    def read(node: Node) -> tuple[T, ...]:
        items = node.items()
        if len(items) < least:
            raise node.refuse("the list is empty")
        values: dict[T, None] = {}
        for item in items:
            with suppress(InvalidError):
                value = reader(item)
                if value in values:
                    item.refuse("duplicate item in this list")
                values[value] = None
        return tuple(values)

    fewest = {"minItems": least} if least else {}
    schema = {"type": "array", "items": reader, "uniqueItems": True, **fewest}
    return Value(read, f"list of {reader.words}s", schema, lambda values: "`, `".join(map(str, values)))
