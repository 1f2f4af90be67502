"""`Schedule`: at which times a limit has another rate; `Scheduled`: what it has then.

Times are those of the clock on the wall in a zone. Where clocks go forward, times that do not exist that day are left
out; where they go back, times that come twice hold twice. So nights have as many hours as they really have.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo

from gateway.limits.calendar import UTC_ZONE, WEEKDAYS
from gateway.limits.quota import Quota
from gateway.limits.rate import MICROSECONDS

DAY_MINUTES = 24 * 60
EVERY_DAY = frozenset(range(len(WEEKDAYS)))
"""Days of the week, Monday is 0."""

_WEEKS = tuple(
    int(datetime(2026, month, day, tzinfo=UTC).timestamp()) * MICROSECONDS
    for month, day in ((1, 5), (3, 16), (3, 30), (7, 6), (10, 12), (10, 26))
)
"""Mondays of weeks between which zones put their clocks forward or back: some in March, others later."""

_DAYS_AHEAD = 9
"""In so many days, every weekly span begins and ends at least once."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time that comes every week, or every day.

    Attributes:
        days: Days of the week on which it begins, Monday is 0.
        begins: Minutes after midnight at which it begins.
        ends: Minutes after midnight at which it ends: on the next day, if that is not after `begins`.
        zone: Whose time it is.
    """

    days: frozenset[int] = EVERY_DAY
    begins: int = 0
    ends: int = DAY_MINUTES
    zone: tzinfo = UTC_ZONE

    def __str__(self) -> str:
        days = ", ".join(WEEKDAYS[day] for day in sorted(self.days)) if self.days != EVERY_DAY else "every day"
        hours = f" {_time(self.begins)} to {_time(self.ends)}" if (self.begins, self.ends) != (0, DAY_MINUTES) else ""
        return f"{days}{hours}, {self.zone}"

    def holds(self, now: int) -> bool:
        """Whether an instant, in microseconds since 1970, is within it."""
        local = datetime.fromtimestamp(now // MICROSECONDS, self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.begins < self.ends:
            return today in self.days and self.begins <= minute < self.ends
        yesterday = (today - 1) % len(WEEKDAYS)
        return (today in self.days and minute >= self.begins) or (yesterday in self.days and minute < self.ends)

    def edges(self, now: int) -> Iterator[int]:
        """All instants, from a day before `now` to some days after it, at which it may begin or end."""
        today = datetime.fromtimestamp(now // MICROSECONDS, self.zone).date()
        for ahead in range(-1, _DAYS_AHEAD):
            day = today + timedelta(ahead)
            for minute in (0, self.begins, self.ends % DAY_MINUTES):
                yield from _instants(day, minute, self.zone)
            yield from _shift(day, self.zone)


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _instants(day: date, minute: int, zone: tzinfo) -> Iterator[int]:
    """When a time of the day is, in microseconds since 1970: it may come twice."""
    local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)
    for fold in (0, 1):
        yield int(local.replace(fold=fold).timestamp()) * MICROSECONDS


def _shift(day: date, zone: tzinfo) -> Iterator[int]:
    """The instant on a day at which clocks are put forward or back, if there is one."""
    first = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
    last = first + 26 * 3600
    offset = _offset(first, zone)
    if _offset(last, zone) == offset:
        return
    while first + 1 < last:
        middle = (first + last) // 2
        if _offset(middle, zone) == offset:
            first = middle
        else:
            last = middle
    yield last * MICROSECONDS


def _offset(second: int, zone: tzinfo) -> timedelta | None:
    return datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What a limit has instead of its own quota during some spans of time.

    Attributes:
        during: The spans; one of them is enough.
        quota: Rate and burst.
        tiers: Quotas of users in a tier, by the tier's name: of the same tiers as the limit's own.
    """

    during: tuple[Span, ...]
    quota: Quota
    tiers: Mapping[str, Quota] = field(default_factory=dict)

    def __str__(self) -> str:
        return "; ".join(map(str, self.during))

    def holds(self, now: int) -> bool:
        """Whether it applies at an instant."""
        return any(span.holds(now) for span in self.during)


Schedule = Sequence[Scheduled]
"""Of several entries that apply at an instant, the first counts."""


def in_force(schedule: Schedule, now: int) -> int | None:
    """The position of the entry that counts at an instant; None for none."""
    return next((position for position, each in enumerate(schedule) if each.holds(now)), None)


def next_change(schedule: Schedule, now: int) -> int | None:
    """The first instant after `now` at which another entry counts; None if that never happens."""
    current = in_force(schedule, now)
    edges = {edge for each in schedule for span in each.during for edge in span.edges(now)}
    return next((edge for edge in sorted(edges) if edge > now and in_force(schedule, edge) != current), None)


def first_change(schedules: Iterable[Schedule], now: int) -> int | None:
    """The first instant after `now` at which one of several schedules changes."""
    return min((at for each in schedules if (at := next_change(each, now)) is not None), default=None)


def never_in_force(schedule: Sequence[Scheduled]) -> list[int]:
    """Positions of entries that never count, because others before them always apply as well.

    Weeks of all seasons are looked at, in which zones differ by other hours.
    """
    reached = set()
    for week in _WEEKS:
        edges = {edge for entry in schedule for span in entry.during for edge in span.edges(week)}
        reached |= {in_force(schedule, edge) for edge in edges}
    return [position for position in range(len(schedule)) if position not in reached]
