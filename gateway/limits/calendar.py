"""`Calendar`: days, weeks or months in a time zone; `CalendarRate`: tokens that come back when the next one begins.

A period begins at the first instant at which the zone's date is its first day. So a day has 23 or 25 hours where clocks
change; where midnight does not exist, it begins when clocks have gone forward, and where midnight comes twice, at the
first. All of this is worked out once a period, not once a request.
"""

import re
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

from gateway.limits.rate import MICROSECONDS

DAY, WEEK, MONTH = "day", "week", "month"

UNITS = (DAY, WEEK, MONTH)
"""What a period of a calendar is."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Days with which a week may begin; the first is 1, as in ISO 8601."""

MOST_TOKENS = 10_000_000_000
"""Of a calendar quota: fewer than the shortest period has microseconds."""

_AMOUNT = re.compile(r"([0-9]{1,64})\s*/\s*([a-z]+)", re.ASCII)


class Starts(NamedTuple):
    """When the periods around an instant begin, in microseconds since 1970.

    Attributes:
        previous: The period before.
        this: The period in which the instant is.
        next: The period after it, which is also the end of this.
        last: The period after that.
    """

    previous: int
    this: int
    next: int
    last: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """A sequence of periods without gaps.

    Attributes:
        unit: `DAY`, `WEEK` or `MONTH`.
        zone: The time zone by whose date they begin.
        from_day: With which day: of a month 1 to 31, and its last day if it is shorter; of a week 1 to 7, Monday to
            Sunday.

    Raises:
        ValueError: there is no such day. The message goes on from "from_day ...".
    """

    unit: str
    zone: ZoneInfo
    from_day: int = 1
    _near: list[Starts] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        most = {MONTH: 31, WEEK: len(WEEKDAYS)}.get(self.unit, 1)
        if not 1 <= self.from_day <= most:
            raise ValueError("is for months and weeks" if most == 1 else f"is 1 to {most}")

    def start(self, now: int) -> int:
        """When the period began in which `now` is, in microseconds since 1970."""
        return self.around(now).this

    def end(self, now: int) -> int:
        """When the period ends in which `now` is: the next one begins at that instant."""
        return self.around(now).next

    def around(self, now: int) -> Starts:
        """When the periods around `now` begin. Those around the last such instant are remembered."""
        near = self._near
        if not near or not near[0].this <= now < near[0].next:
            near[:] = [self._find(now)]
        return near[0]

    @property
    def key(self) -> str:
        """What tells it from other calendars, for keys of buckets."""
        return f"{self.unit}.{self.from_day}.{self.zone.key}"

    @property
    def first_day(self) -> int | str | None:
        """The day with which its periods begin, as it is written: the day of a month, or that of a week."""
        if self.unit == DAY:
            return None
        return self.from_day if self.unit == MONTH else WEEKDAYS[self.from_day - 1]

    def __str__(self) -> str:
        from_day = {MONTH: f" from day {self.first_day}", WEEK: f" from {self.first_day}"}.get(self.unit, "")
        return f"{self.unit}{from_day}, {self.zone.key}"

    def _find(self, now: int) -> Starts:
        number = self._number(datetime.fromtimestamp(now // MICROSECONDS, self.zone).date())
        while self._begin(number) > now:  # clocks went back over midnight
            number -= 1
        while self._begin(number + 1) <= now:
            number += 1
        before, after = number - 1, number + 2
        while self._begin(before) == self._begin(number):  # a zone may have left out a day
            before -= 1
        while self._begin(after) == self._begin(number + 1):
            after += 1
        return Starts(self._begin(before), self._begin(number), self._begin(number + 1), self._begin(after))

    def _number(self, day: date) -> int:
        """The number of the period to which a date belongs."""
        if self.unit == MONTH:
            month = day.year * 12 + day.month - 1
            return month if day >= self._first_day(month) else month - 1
        return day.toordinal() if self.unit == DAY else (day.toordinal() - self.from_day) // 7

    def _first_day(self, number: int) -> date:
        if self.unit == MONTH:
            year, month = divmod(number, 12)
            return date(year, month + 1, min(self.from_day, monthrange(year, month + 1)[1]))
        return date.fromordinal(number if self.unit == DAY else number * 7 + self.from_day)

    def _begin(self, number: int) -> int:
        return _first_instant(self._first_day(number), self.zone) * MICROSECONDS


def _first_instant(day: date, zone: ZoneInfo) -> int:
    """The first second since 1970 at which it is `day` in a zone, or later."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    latest, earliest = (int(midnight.replace(fold=fold).timestamp()) for fold in (0, 1))
    # Of a midnight that comes twice, fold 0 is the first. One that does not exist is before the gap with fold 1 and
    # behind it with fold 0 (PEP 495): in between, clocks go forward.
    while earliest < latest:
        middle = (earliest + latest) // 2
        if datetime.fromtimestamp(middle, zone).date() < day:
            earliest = middle + 1
        else:
            latest = middle
    return latest


@dataclass(frozen=True, slots=True)
class CalendarRate:
    """`tokens` that come back all at once when a period of `calendar` ends.

    Raises:
        ValueError: there are no tokens, or too many.
    """

    tokens: int
    calendar: Calendar

    def __post_init__(self) -> None:
        if not 1 <= self.tokens <= MOST_TOKENS:
            raise ValueError(f"a quota is 1 to {MOST_TOKENS} tokens a period")

    @property
    def interval(self) -> int:
        """A token is written as one microsecond after the period's start, see `gateway.limits.bucket`."""
        return 1

    def with_calendar(self, calendar: Calendar) -> Self:
        """As many tokens in the periods of another calendar."""
        return type(self)(self.tokens, calendar)

    def __str__(self) -> str:
        return f"{self.tokens}/{self.calendar.unit}"


def parse_amount(text: str) -> tuple[int, str]:
    """Read `100000/month`: tokens, a slash, and the unit of a calendar.

    Raises:
        ValueError: `text` is not of this form.
    """
    form = _AMOUNT.fullmatch(text.strip())
    if form is None or form[2] not in UNITS:
        raise ValueError(f"{text!r} is not a quota; write tokens/day, tokens/week or tokens/month, as in 100000/month")
    return int(form[1]), form[2]


UTC_ZONE = ZoneInfo("UTC")
