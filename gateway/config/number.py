"""Readers of numbers, durations and sizes.

A whole number is decimal digits without quotes, signs, underscores or leading zeros. Whatever else YAML 1.1 takes for a
number (``1:30``, ``0o10``, ``1e3``, ``.inf``) is refused. Durations and sizes may stand in
quotes, with a unit or without.
"""

import re

from gateway.config.node import Node, quote
from gateway.config.reader import Value, reads, string
from gateway.limits import duration
from gateway.limits.duration import format_duration, parse_duration
from gateway.settings import size as sizes
from gateway.settings.size import format_size, parse_size

UNBOUNDED = 1_000_000_000
"""The bound of whole numbers that need none."""

_WHOLE = re.compile(r"0|[1-9][0-9]{0,63}", re.ASCII)
_SHARE = re.compile(r"0(?:\.[0-9]{1,9})?|1(?:\.0{1,9})?", re.ASCII)
_PERCENTAGE = r"^(100(\.0{1,4})?|[1-9]?[0-9](\.[0-9]{1,4})?)%$"
_NOT_ZERO = rf"(?!0+(\.0+)? ?({'|'.join(duration.SECONDS)})?$)"


def whole(least: int, most: int) -> Value[int]:
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

    if most >= UNBOUNDED:
        return Value(read, f"whole number from {least}", {"type": "integer", "minimum": least})
    return Value(read, f"{least} to {most}", {"type": "integer", "minimum": least, "maximum": most})


@reads(
    "true, false or a share",
    {"anyOf": [{"type": "boolean"}, {"type": "number", "minimum": 0, "maximum": 1}]},
    show=lambda value: {0.0: "false", 1.0: "true"}.get(value, f"{value:g}"),
)
def share(node: Node) -> float:
    """A share of all: ``true`` for all, ``false`` for none, or a decimal number from 0 to 1."""
    value = node.plain("true, false or a share")
    if value in {"true", "false"}:
        return float(value == "true")
    if _SHARE.fullmatch(value) is None:
        raise node.refuse(f"{quote(value)} is not a share; write true, false, or a decimal number from 0 to 1")
    return float(value)


@reads(
    "true, false or a percentage",
    {"anyOf": [{"type": "boolean"}, string(_PERCENTAGE)]},
    show=lambda value: {0.0: "false", 1.0: "true"}.get(value, f"{value * 100:g}%"),
)
def percentage(node: Node) -> float:
    """A share of all: ``true`` for all, ``false`` for none, or a percentage from 0% to 100%, such as ``0.5%``."""
    value = node.plain("true, false or a percentage")
    if value in {"true", "false"}:
        return float(value == "true")
    near = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower(), "")
    if not near and _SHARE.fullmatch(value):
        near = f"{float(value) * 100:g}%"
    if re.fullmatch(_PERCENTAGE, value, re.ASCII) is None:
        raise node.refuse(
            f"{quote(value)} is not true, false or a percentage; write a percentage from 0% to 100%, as in 10%", near
        )
    return float(value[:-1]) / 100


def seconds(*, zero: bool = False) -> Value[float]:
    """A duration, see `gateway.limits.duration`; 0 only where `zero` allows it."""

    def read(node: Node) -> float:
        value = node.scalar("a duration")
        try:
            length = parse_duration(value)
        except ValueError as error:
            raise node.refuse(f"{quote(value)} is {error}") from None
        if not length and not zero:
            raise node.refuse(f"{quote(value)} is out of range; write more than 0")
        return length

    number = {"type": "number", "minimum" if zero else "exclusiveMinimum": 0}
    text = string(f"^{'' if zero else _NOT_ZERO}{duration.PATTERN}$")
    return Value(read, "duration", {"anyOf": [number, text]}, format_duration)


@reads("size", {"anyOf": [{"type": "integer", "minimum": 1}, string(f"^{sizes.PATTERN}$")]}, show=format_size)
def size(node: Node) -> int:
    """A number of bytes, see `gateway.settings.size`."""
    value = node.scalar("a size")
    try:
        return parse_size(value)
    except ValueError as error:
        raise node.refuse(f"{quote(value)} is {error}") from None
