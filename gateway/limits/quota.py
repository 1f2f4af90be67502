"""`Quota`: how fast a bucket refills, and how much it holds."""

from dataclasses import dataclass, field
from typing import Final

from gateway.limits.at_once import UNIT, AtOnce
from gateway.limits.calendar import Calendar, CalendarRate
from gateway.limits.rate import Rate

LARGEST: Final = 2**53
"""Integers below this are exact in Lua's doubles."""

LARGEST_DEBT: Final = LARGEST // 4
"""Microseconds (about 71 years): still exact when today's date is added."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How fast a bucket refills and how much it holds.

    Attributes:
        rate: Tokens a period, which come back evenly or, of a calendar, all together; or `AtOnce`.
        burst: Tokens held at most.
        interval: Microseconds in which one token is refilled.
        capacity: Microseconds an empty bucket takes to fill: the largest debt.
        nearly_spent: The debt above which less than a fifth of the burst is left.
        calendar: Whose periods count; None if there are none.
        at_once: Whether it counts requests in flight.

    Raises:
        ValueError: the burst is below 1, or so large that it takes decades to refill.
    """

    rate: Rate | CalendarRate | AtOnce
    burst: int
    interval: int = field(init=False, repr=False)
    capacity: int = field(init=False, repr=False)
    nearly_spent: int = field(init=False, repr=False)
    calendar: Calendar | None = field(init=False, repr=False)
    at_once: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.burst < 1:
            raise ValueError("a burst is at least 1")
        object.__setattr__(self, "interval", self.rate.interval)
        object.__setattr__(self, "capacity", self.burst * self.interval)
        object.__setattr__(self, "nearly_spent", 4 * self.capacity // 5)
        object.__setattr__(self, "calendar", self.rate.calendar if isinstance(self.rate, CalendarRate) else None)
        object.__setattr__(self, "at_once", isinstance(self.rate, AtOnce))
        if self.capacity > LARGEST_DEBT:
            raise ValueError(f"a burst of {self.burst} at {self.rate} takes more than 71 years to refill")

    @classmethod
    def each_period(cls, rate: CalendarRate) -> "Quota":
        """A calendar quota: all tokens of a period can be spent at once."""
        return cls(rate, rate.tokens)

    def with_calendar_of(self, other: "Quota") -> "Quota":
        """As much in each period of another quota's calendar; without one, the same."""
        if other.calendar is None or not isinstance(self.rate, CalendarRate):
            return self
        return Quota(self.rate.with_calendar(other.calendar), self.burst)

    @property
    def unit(self) -> str | None:
        """What tells its form: the periods of its calendar, such as a month, or "at once"; None for a rate."""
        if self.at_once:
            return UNIT
        return None if self.calendar is None else self.calendar.unit

    def origin(self, now: int) -> int:
        """The instant from which a debt counts: `now`, the start of the calendar's period, or 0 of requests at once."""
        if self.at_once:
            return 0
        return now if self.calendar is None else self.calendar.start(now)

    def full_at(self, owed: int, now: int) -> int:
        """When a bucket that owes so much is full again, if nothing else is charged.

        Nobody knows when requests in flight end: for these it is `now`.
        """
        if self.at_once:
            return now
        return now + owed if self.calendar is None else self.calendar.end(now)

    def __str__(self) -> str:
        if self.at_once:
            return f"{self.burst} {UNIT}"
        return f"{self.rate} burst {self.burst}" if self.calendar is None else str(self.rate)


def quota_fields(quota: Quota) -> dict[str, str | int]:
    """A quota as JSON has it.

    That is ``rate`` and ``burst``, or ``quota`` and ``zone`` and, but for days, ``from_day``, or ``at_once``.
    """
    if quota.at_once:
        return {"at_once": quota.burst}
    calendar = quota.calendar
    if calendar is None:
        return {"rate": str(quota.rate), "burst": quota.burst}
    first = calendar.first_day
    return {"quota": str(quota), "zone": calendar.zone.key, **({} if first is None else {"from_day": first})}
