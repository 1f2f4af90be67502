"""`Rate`: tokens per period, and how it is written."""

import re
from dataclasses import dataclass, field
from typing import Self

from gateway.limits.duration import LONGEST, SECONDS

MICROSECONDS = 1_000_000
"""In a second."""

PERIODS = {
    name: int(SECONDS[unit])
    for unit, names in (
        ("s", ("s", "sec", "second", "seconds")),
        ("m", ("m", "min", "minute", "minutes")),
        ("h", ("h", "hour", "hours")),
        ("d", ("d", "day", "days")),
    )
    for name in names
}
"""Seconds in each unit that a rate may be written with."""

UNITS = "s, m, h and d, or sec, second, min, minute, hour and day"
"""The same for people; those of more than one letter may have an s at the end."""

_RATE = re.compile(r"([0-9]{1,64})\s*/\s*([0-9]{0,64})\s*([a-z]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """`tokens` refilled evenly over `seconds`.

    Attributes:
        written: How an operator wrote it; two rates are equal however they were written.

    Raises:
        ValueError: no tokens, no period or one above 366 days, or more than one token a microsecond.
    """

    tokens: int
    seconds: int
    written: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError("a rate needs at least 1 token a period; no limit refuses everything")
        if self.seconds < 1:
            raise ValueError("a period lasts at least 1 second")
        if self.seconds > LONGEST:
            raise ValueError("a period lasts at most 366 days")
        if self.tokens > self.seconds * MICROSECONDS:
            raise ValueError("a rate is at most 1000000 tokens a second")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `100/minute`, `50/s` or `10/15s`: tokens, a slash, an optional whole number, a unit (s, m, h, d).

        Raises:
            ValueError: `text` is not of this form, or the rate is impossible.
        """
        form = _RATE.fullmatch(text.strip())
        if form is None:
            raise ValueError(f"{text!r} is not a rate; write tokens/period, as in 100/minute, 50/s or 10/15s")
        if form[3] not in PERIODS:
            raise ValueError(f"{text!r} is not a rate, because {form[3]!r} is not a unit; the units are {UNITS}")
        return cls(int(form[1]), int(form[2] or 1) * PERIODS[form[3]], text.strip())

    @property
    def interval(self) -> int:
        """Microseconds in which one token is refilled, rounded up: never faster than written."""
        return -(-self.seconds * MICROSECONDS // self.tokens)

    def __str__(self) -> str:
        if self.written:
            return self.written
        for name, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
            if self.seconds == seconds:
                return f"{self.tokens}/{name}"
        return f"{self.tokens}/{'' if self.seconds == 1 else self.seconds}s"
