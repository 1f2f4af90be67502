"""Durations as operators write them: ``500ms``, ``2s``, ``1m``, ``1h``, ``1d``, or a number of seconds."""

import re

SECONDS: dict[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
"""Seconds in each unit."""

LONGEST = 366 * 86_400
"""The longest duration, in seconds."""

PATTERN = rf"[0-9]{{1,9}}(\.[0-9]{{1,9}})? ?({'|'.join(SECONDS)})?"
_DURATION = re.compile(PATTERN, re.ASCII)
_OTHER_UNIT = re.compile(r"[0-9.]+ ?([A-Za-z]+)", re.ASCII)


def parse_duration(text: str) -> float:
    """Read a duration, in seconds; 0 is one.

    Raises:
        ValueError: `text` is not a duration, or longer than 366 days. The message goes on from "... is".
    """
    form = _DURATION.fullmatch(text)
    if form is None:
        other = _OTHER_UNIT.fullmatch(text)
        if other is not None and other[1] not in SECONDS:
            raise ValueError(f"not a duration, because {other[1]!r} is not a unit; the units are {', '.join(SECONDS)}")
        raise ValueError("not a duration; write 500ms, 2s, 1m, 1h, 1d, or a number of seconds")
    unit = form[2] or ""
    seconds = float(text.removesuffix(unit)) * SECONDS[unit or "s"]
    if seconds > LONGEST:
        raise ValueError("out of range; the longest duration is 366d")
    return seconds


def format_duration(seconds: float) -> str:
    """A duration as an operator writes it, in the largest unit that gives a whole number above 1, or is an hour."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit in ("d", "h", "m"):
        length = SECONDS[unit]
        if seconds % length == 0 and (seconds > length or unit == "h"):
            return f"{seconds / length:.12g}{unit}"
    return f"{seconds:.12g}s"
