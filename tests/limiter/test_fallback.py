"""The fallback's promises, played by N workers on a virtual clock beside a model of Redis."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.bucket import take
from gateway.limits.calendar import DAY, Calendar, CalendarRate
from gateway.limits.charge import Charge, Demand, FailurePolicy
from gateway.limits.in_flight import InFlight
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from tests.kit.fleet_model import KEY, FleetModel

QUOTA = Quota(Rate(10, 1), 12)
"""A token every 100 ms; a bucket is full after 1.2 s."""
LOCAL, WHOLE = FailurePolicy.LOCAL, FailurePolicy.WHOLE

WORKERS = st.sets(st.integers(0, 3))
TIMES = st.integers(0, 1_500_000) | st.sampled_from([QUOTA.interval, QUOTA.capacity, 3 * QUOTA.capacity])
CYCLE = st.tuples(WORKERS, st.lists(st.tuples(TIMES, WORKERS), max_size=4), TIMES, st.booleans())
"""Who is asked before Redis fails; after which times who is asked while it is unavailable; how long it is then
available; whether heartbeats are sent then. Whoever is asked is asked until he refuses."""


def play(fleet: FleetModel, cycles: Sequence[Any]) -> None:
    for before, during, time, beats in cycles:
        drain(fleet, before)
        fleet.fail()
        for pause, workers in during:
            fleet.wait(pause)
            drain(fleet, workers)
        fleet.recover()
        fleet.wait(time)
        if beats:
            fleet.beat()


def drain(fleet: FleetModel, workers: Iterable[int]) -> None:
    for worker in workers:
        while fleet.ask(worker % fleet.size):
            pass


@given(st.sampled_from([1, 2, 3, 4]), st.lists(CYCLE, max_size=12))
def test_shares_admit_no_more_than_two_bursts_beyond_the_rate_however_often_redis_fails(
    size: int, cycles: list[Any]
) -> None:
    fleet = FleetModel(QUOTA, LOCAL, size)
    play(fleet, cycles)
    assert fleet.excess() <= 2 * QUOTA.burst


@given(st.sampled_from([1, 2, 3, 4]), st.lists(CYCLE, max_size=12))
def test_whole_limits_admit_no_more_than_each_worker_could_alone(size: int, cycles: list[Any]) -> None:
    fleet = FleetModel(QUOTA, WHOLE, size)
    play(fleet, cycles)
    assert fleet.excess() <= (size + 1) * QUOTA.burst + size * fleet.unavailable / QUOTA.interval


DAILY = Quota.each_period(CalendarRate(12, Calendar(DAY, ZoneInfo("Europe/Berlin"))))
PAUSES = st.integers(0, 90_000_000_000) | st.sampled_from([0, 1, 43_200_000_000, 82_800_000_000])
DAYS = st.lists(
    st.tuples(WORKERS, st.lists(st.tuples(PAUSES, WORKERS), max_size=4), PAUSES, st.booleans()), max_size=12
)


@given(st.sampled_from([LOCAL, WHOLE]), st.integers(1, 4), DAYS)
def test_a_calendar_quota_is_exceeded_in_no_period_by_more_than_the_workers_own_buckets(
    policy: FailurePolicy, size: int, cycles: list[Any]
) -> None:
    """Twice the quota with shares, and one more of each worker with whole quotas, however often Redis fails."""
    fleet = FleetModel(DAILY, policy, size)
    play(fleet, cycles)
    used = Counter[int]()
    for at, cost in fleet.admitted:
        used[DAILY.origin(at)] += cost
    assert all(tokens <= (1 + (1 if policy is LOCAL else size)) * DAILY.burst for tokens in used.values())


def test_what_was_spent_of_a_calendar_quota_without_redis_is_charged_in_its_period_and_forgotten_after_it() -> None:
    fleet = FleetModel(DAILY, WHOLE, 1)
    fleet.fail()
    assert [fleet.ask(0, 5) for _ in range(3)] == [True, True, False]
    fleet.recover()
    assert [fleet.ask(0, cost) for cost in (3, 2)] == [False, True]
    fleet.fail()
    assert not fleet.ask(0)
    fleet.wait(DAILY.full_at(1, fleet.now) - fleet.now)
    assert [fleet.ask(0, 12), fleet.ask(0)] == [True, False]
    fleet.wait(90_000_000_000)
    fleet.recover()
    assert [fleet.ask(0, 12), fleet.ask(0)] == [True, False]


@given(
    st.lists(st.tuples(st.integers(0, 400_000), st.sampled_from(["", "", "", "fail", "recover", "beat"])), max_size=80),
    st.integers(1, 4),
)
def test_a_caller_within_the_limit_who_reaches_one_worker_is_never_refused_under_whole(
    steps: list[tuple[int, str]], size: int
) -> None:
    """Neither while Redis is unavailable, nor after it: an ideal bucket says which requests are within the limit."""
    fleet, ideal = FleetModel(QUOTA, WHOLE, size), None
    demand = [Demand(KEY, Charge.of("limit", QUOTA))]
    for time, event in steps:
        fleet.wait(time)
        if event:
            getattr(fleet, event)()
        decision, (state,) = take(demand, [ideal], fleet.now)
        if decision.allowed:
            ideal = state
            assert fleet.ask(0)


@pytest.mark.parametrize(("policy", "size"), [(LOCAL, 1), (LOCAL, 4), (WHOLE, 1), (WHOLE, 4)])
def test_after_a_long_outage_callers_within_the_limit_owe_no_more_than_with_redis(
    policy: FailurePolicy, size: int
) -> None:
    """Ten minutes at three quarters of the rate, over all workers: the shared bucket would not have been empty."""
    fleet = FleetModel(QUOTA, policy, size)
    fleet.fail()
    interval = QUOTA.interval * 4 // 3
    for number in range(600_000_000 // interval):
        assert fleet.ask(number % size)
        fleet.wait(interval)
    fleet.recover()
    for number in range(100):
        assert fleet.ask(number % size)
        fleet.wait(interval)
        if number % 7 == 0:
            fleet.beat()


def test_what_is_spent_in_an_outage_shorter_than_a_bucket_takes_to_fill_is_charged_to_the_token() -> None:
    fleet = FleetModel(QUOTA, LOCAL, 2)
    fleet.fail()
    assert [fleet.ask(worker) for worker in (0, 1) for _ in range(7)] == ([True] * 6 + [False]) * 2
    fleet.wait(500_000)
    assert [fleet.ask(0) for _ in range(3)] == [True, True, False]
    fleet.recover()
    assert [fleet.ask(1) for _ in range(1)] == [False]


@pytest.mark.parametrize("size", [1, 3])
def test_a_single_failed_check_is_charged_in_full_however_small_the_bucket(size: int) -> None:
    """Redis is available to others, so its bucket's refill is not lost, and pays for nothing here."""
    fleet = FleetModel(QUOTA, LOCAL, size)
    charge = Charge.of("limit", QUOTA, failure_policy=LOCAL)
    assert fleet.fallbacks[0].take([Demand(KEY, charge)], InFlight()).allowed
    fleet.wait(60_000_000)
    ((debt,),) = fleet.fallbacks[0].debts(10)
    assert debt.due == QUOTA.interval
