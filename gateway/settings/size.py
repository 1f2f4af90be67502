"""Sizes as operators write them: ``8190``, ``64KiB``, ``1MiB``. A step is 1024."""

import re
from typing import Annotated

Bytes = Annotated[int, "bytes"]
"""A number of bytes, which operators may write as ``64KiB``."""

_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
PATTERN = rf"([1-9][0-9]{{0,9}}) ?({'|'.join(_UNITS)})?"
_SIZE = re.compile(PATTERN, re.ASCII)
_OTHER_UNIT = re.compile(r"[0-9.]+ ?([A-Za-z]+)", re.ASCII)


def parse_size(text: str) -> int:
    """Read a size in bytes.

    Raises:
        ValueError: `text` is not a size.
    """
    form = _SIZE.fullmatch(text)
    if form is None:
        other = _OTHER_UNIT.fullmatch(text)
        if other is not None and other[1] not in _UNITS:
            raise ValueError(f"not a size, because {other[1]!r} is not a unit; the units are {', '.join(_UNITS)}")
        raise ValueError("not a size; write a number of bytes, such as 8190, or 64KiB, 1MiB")
    return int(form[1]) * _UNITS[form[2] or "B"]


def format_size(size: int) -> str:
    """A size in bytes as an operator writes it, in the largest unit that gives a whole number."""
    if not size:
        return "0"
    unit, length = next((unit, length) for unit, length in reversed(_UNITS.items()) if size % length == 0)
    return f"{size // length}{unit if length > 1 else ''}"
