"""Settlements that wait are one for each bucket."""

from zoneinfo import ZoneInfo

from gateway.limits.calendar import DAY, Calendar, CalendarRate
from gateway.limits.debt import Debt
from gateway.limits.quota import LARGEST_DEBT, Quota
from gateway.limits.rate import MICROSECONDS, Rate
from gateway.redis.settlements import Settlement, Settlements

QUOTA = Quota(Rate(1, 1), 10)
FASTER = Quota(Rate(3, 1), 10)
CALENDAR = Calendar(DAY, ZoneInfo("UTC"))
DAILY = Quota.each_period(CalendarRate(10, CALENDAR))
NOW = CALENDAR.start(1_700_000_000 * MICROSECONDS)


def debt(key: bytes = b"a", tokens: int = 1, quota: Quota = QUOTA, at: int = NOW) -> Debt:
    return Debt(key, quota, tokens * quota.interval, at=at, most=LARGEST_DEBT)


def taken(*debts: Debt) -> list[Settlement]:
    waiting = Settlements()
    waiting.add(debts)
    return waiting.take()


def test_those_of_one_bucket_are_added_up() -> None:
    first, other = taken(debt(tokens=5), debt(b"b"), debt(tokens=-2))
    assert first == Settlement(debt(tokens=3), 2)
    assert other == Settlement(debt(b"b"), 1)


def test_tokens_stay_as_many_when_the_rate_changes_in_between() -> None:
    (one,) = taken(debt(tokens=5), debt(tokens=-2, quota=FASTER))
    assert one.debt == debt(tokens=3, quota=FASTER)


def test_of_two_periods_the_later_counts_for_all_of_the_earlier_came_back() -> None:
    tomorrow = CALENDAR.end(NOW)
    late, early = debt(tokens=2, quota=DAILY, at=tomorrow), debt(tokens=7, quota=DAILY)
    assert taken(early, late) == taken(late, early) == [Settlement(late, 2)]


def test_no_sum_is_more_than_can_be_owed() -> None:
    (one,) = taken(*[debt()._replace(due=LARGEST_DEBT)] * 5)
    assert one.debt.due == LARGEST_DEBT


def test_so_many_are_taken_at_a_time_oldest_first_and_the_rest_waits() -> None:
    waiting = Settlements()
    waiting.add(debt(b"%d" % number) for number in range(300))
    sizes = []
    while waiting:
        sizes.append(len(waiting.take()))
    assert sizes == [128, 128, 44]


def test_what_is_dropped_is_counted() -> None:
    waiting = Settlements()
    waiting.add([debt(), debt(), debt(b"b")])
    assert (waiting.drop(), bool(waiting), waiting.drop()) == (3, False, 0)
