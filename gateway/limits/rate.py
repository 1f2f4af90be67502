"""`Rate`: tokens per period, and how it is written."""

import re
from dataclasses import dataclass
from typing import Self

MICROSECONDS = 1_000_000
"""In a second."""

_UNITS = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3_600, "hour": 3_600, "hours": 3_600,
    "d": 86_400, "day": 86_400, "days": 86_400,
}  # fmt: skip
_RATE = re.compile(r"([0-9]{1,64})\s*/\s*([0-9]{0,64})\s*([a-z]+)", re.ASCII)
_LONGEST_PERIOD = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Rate:
    """`tokens` refilled evenly over `seconds`.

    Raises:
        ValueError: no tokens, no period or one above 366 days, or more than one token a microsecond.
    """

    tokens: int
    seconds: int

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError("a rate needs at least 1 token a period; no limit refuses everything")
        if self.seconds < 1:
            raise ValueError("a period lasts at least 1 second")
        if self.seconds > _LONGEST_PERIOD:
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
        if form is None or form[3] not in _UNITS:
            raise ValueError(f"{text!r} is not a rate; write tokens/period, as in 100/minute, 50/s or 10/15s")
        return cls(int(form[1]), int(form[2] or 1) * _UNITS[form[3]])

    @property
    def interval(self) -> int:
        """Microseconds in which one token is refilled, rounded up: never faster than written."""
        return -(-self.seconds * MICROSECONDS // self.tokens)

    def __str__(self) -> str:
        for name, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
            if self.seconds == seconds:
                return f"{self.tokens}/{name}"
        return f"{self.tokens}/{'' if self.seconds == 1 else self.seconds}s"
