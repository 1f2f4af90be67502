"""Readers of single values. Each takes a `Node`, and returns what is written there or refuses it with the reason.

A text takes any scalar as it is written, so ``name: no`` is the name "no". A yes-or-no takes only true and false. A
whole number takes decimal digits without quotes, signs, underscores or leading zeros. Whatever else YAML 1.1 has for
numbers (``1:30``, ``0o10``, ``1e3``, ``.inf``) is refused where a number is due.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

from gateway.config.node import Node, quote
from gateway.config.problem import InvalidError
from gateway.limits.address import Network

Reader = Callable[[Node], Any]
"""Reads a value, or raises `InvalidError` when it has noted why it cannot."""

T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
_WHOLE = re.compile(r"0|[1-9][0-9]{0,63}", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)?", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SHARE = re.compile(r"0(?:\.[0-9]{1,9})?|1(?:\.0{1,9})?", re.ASCII)
_SIZE = re.compile(r"([1-9][0-9]{0,9}) ?(B|KiB|MiB|GiB)?", re.ASCII)
_FACTORS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LONGEST = 366 * 86_400.0
_LONGEST_TEXT = 1024
_TRUE = {"yes", "on", "y", "true", "1"}
_FALSE = {"no", "off", "n", "false", "0"}
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)


def text(node: Node) -> str:
    """A text that is not empty and fits on one line."""
    value = node.scalar("a text")
    if not value.strip():
        raise node.refuse("the text is empty")
    if len(value) > _LONGEST_TEXT:
        raise node.refuse(f"the text is longer than {_LONGEST_TEXT} characters")
    if not value.isprintable():
        raise node.refuse("the text holds a line break or a control character")
    if value != value.strip():
        raise node.refuse("the text starts or ends with a blank")
    return value


def _fitting(node: Node, form: re.Pattern[str], why: str) -> str:
    """A text of a form; one that is not is refused, and `why` goes on from the text itself."""
    value = text(node)
    if form.fullmatch(value) is None:
        raise node.refuse(f"{quote(value)} {why}")
    return value


def name(node: Node) -> str:
    """A name that can be a metric's label and part of a key in Redis."""
    why = "is not a name; write a-z, 0-9, _ and - only, a letter or digit first, at most 64 of them"
    return _fitting(node, _NAME, why)


def header(node: Node) -> str:
    """The name of a header field (RFC 9110 section 5.1)."""
    return _fitting(node, _TOKEN, "is not the name of a header field")


def web_origin(node: Node) -> str:
    """The origin of web pages as browsers write it (RFC 6454 section 6.2): ``https://app.example`` or with a port."""
    return _fitting(node, _ORIGIN, "is not an origin; write https://app.example, without a path, in small letters")


def boolean(node: Node) -> bool:
    """``true`` or ``false``."""
    value = node.plain("true or false")
    if value not in {"true", "false"}:
        near = "true" if value.lower() in _TRUE else "false" if value.lower() in _FALSE else ""
        raise node.refuse(f"{quote(value)} is neither true nor false", near)
    return value == "true"


def share(node: Node) -> float:
    """A share of all: ``true`` for all, ``false`` for none, or a decimal number from 0 to 1."""
    value = node.plain("true, false or a share")
    if value in {"true", "false"}:
        return float(value == "true")
    if _SHARE.fullmatch(value) is None:
        raise node.refuse(f"{quote(value)} is not a share; write true, false, or a decimal number from 0 to 1")
    return float(value)


def whole(least: int, most: int) -> Callable[[Node], int]:
    """A whole number from `least` to `most`."""

    def read(node: Node) -> int:
        value = node.plain("a whole number")
        if _WHOLE.fullmatch(value) is None:
            digits = value.replace("_", "").replace(",", "").lstrip("0")
            near = digits if _WHOLE.fullmatch(digits) else ""
            raise node.refuse(f"{quote(value)} is not a whole number; write decimal digits only", near)
        if not least <= int(value) <= most:
            raise node.refuse(f"{value} is out of range; write {least} to {most}")
        return int(value)

    return read


def seconds(*, zero: bool = False) -> Callable[[Node], float]:
    """A duration: ``2s``, ``500ms``, ``1m``, ``1h``, ``1d``, or a plain number of seconds."""

    def read(node: Node) -> float:
        value = node.scalar("a duration")
        form = _DURATION.fullmatch(value)
        if form is None:
            raise node.refuse(f"{quote(value)} is not a duration; write 500ms, 2s, 1m, 1h, or a number of seconds")
        duration = float(form[1]) * _UNITS[form[2] or "s"]
        if duration > _LONGEST or (duration == 0 and not zero):
            raise node.refuse(f"{quote(value)} is out of range; write {'0' if zero else 'more than 0'} to 366d")
        return duration

    return read


def size(node: Node) -> int:
    """A number of bytes: ``8190``, ``64KiB``, ``1MiB``."""
    value = node.plain("a size")
    form = _SIZE.fullmatch(value)
    if form is None:
        raise node.refuse(f"{quote(value)} is not a size; write bytes, as in 8190, or 64KiB, 1MiB (1024 to the step)")
    return int(form[1]) * _FACTORS[form[2] or "B"]


def choice(*options: str) -> Callable[[Node], str]:
    """One of `options`."""

    def read(node: Node) -> str:
        value = text(node)
        if value not in options:
            listed = ", ".join(options[:-1]) + f" or {options[-1]}"
            raise node.refuse(f"{quote(value)} is none of {listed}", node.nearest(value.lower(), options))
        return value

    return read


def parsed(parse: Callable[[str], T]) -> Callable[[Node], T]:
    """Whatever `parse` makes of a text; it says what is wrong by a ValueError."""

    def read(node: Node) -> T:
        try:
            return parse(text(node))
        except ValueError as error:
            raise node.refuse(str(error)) from None

    return read


def network(node: Node) -> Network:
    """A network, ``10.0.0.0/8`` or ``2001:db8::/32``, or a single address."""
    value = text(node)
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        near = str(ip_network(value, strict=False))
    except ValueError:
        raise node.refuse(f"{quote(value)} is not a network; write 10.0.0.0/8, 2001:db8::/32 or an address") from None
    raise node.refuse(f"{quote(value)} has bits set behind its prefix", near)


def path(node: Node) -> Path:
    """A path, relative to the file it is written in."""
    value = text(node)
    return node.source.folder / value


def existing(node: Node) -> Path:
    """A path to a file or folder that is there."""
    found = path(node)
    try:
        found.stat()
    except OSError as error:
        raise node.refuse(f"{found}: {error.strerror}") from None
    return found


def file(node: Node) -> Path:
    """A path to a file that can be read."""
    found = path(node)
    try:
        with found.open("rb"):
            return found
    except OSError as error:
        raise node.refuse(f"{found}: {error.strerror or error}") from None


def each(reader: Callable[[Node], T], *, least: int = 0) -> Callable[[Node], tuple[T, ...]]:
    """A list of what `reader` reads, each item once; bad items are noted and left out."""

    def read(node: Node) -> tuple[T, ...]:
        items = node.items()
        if len(items) < least:
            raise node.refuse("the list is empty")
        values: dict[T, Node] = {}
        for item in items:
            with suppress(InvalidError):
                value = reader(item)
                if value in values:
                    item.refuse("stands twice in this list")
                values[value] = item
        return tuple(values)

    return read
