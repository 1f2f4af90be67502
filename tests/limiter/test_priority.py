"""A reserve is kept in memory, in Redis, in the denial cache and while Redis is unavailable."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limiter.last_known import LastKnown
from gateway.limiter.verdict import Outcome
from gateway.limits.bucket import Decision, take
from gateway.limits.charge import Charge, Demand, FailurePolicy
from gateway.limits.in_flight import InFlight
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.redis.clock import StoreClock
from tests.kit.fleet_model import KEY, FleetModel
from tests.redis.builders import demand, failover_of, limiter
from tests.redis_server import redis_server
from tests.waiting import DEADLINE

RESERVES = {"high": 0.0, "normal": 0.25, "low": 0.5}
QUOTA = Quota(Rate(10, 1), 12)


async def play(url: str | None, made: Sequence[tuple[str, int, float]]) -> list[tuple[bool, tuple[int, ...]]]:
    """What becomes of requests that are made at once, so that nothing refills."""
    async with limiter(url) as opened:
        await opened.reset([b"a", b"b"])
        verdicts = [await opened.check([demand(key, burst=6, cost=cost, reserve=part)]) for key, cost, part in made]
    return [(each.allowed, each.decision.refused) for each in verdicts]


def test_memory_and_redis_agree_and_with_a_reserve_of_0_nothing_differs() -> None:
    with asyncio.Runner() as runner:
        serving = redis_server()
        redis = runner.run(serving.__aenter__())

        @settings(max_examples=30, deadline=None)
        @given(
            st.lists(
                st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.sampled_from([*RESERVES.values(), 0.9])),
                max_size=30,
            )
        )
        def agree(made: list[tuple[str, int, float]]) -> None:
            assert runner.run(play(None, made)) == runner.run(play(redis.url, made))
            plain = [(key, cost, 0.0) for key, cost, _ in made]
            spent = {"a": 0, "b": 0}
            for (key, cost, _), (allowed, _) in zip(plain, runner.run(play(redis.url, plain)), strict=True):
                assert allowed is (spent[key] + cost <= 6)
                spent[key] += cost * allowed

        try:
            agree()
        finally:
            runner.run(serving.__aexit__(None, None, None))


async def test_a_refusal_of_low_priority_is_not_remembered_against_a_high_one() -> None:
    low, high = (demand("a", burst=4, reserve=RESERVES[each]) for each in ("low", "high"))
    async with redis_server() as redis, limiter(redis.url) as opened:
        assert [(await opened.check([low])).allowed for _ in range(3)] == [True, True, False]
        last_known = failover_of(opened).last_known
        assert last_known.refuse([low]) is not None
        assert last_known.refuse([high]) is None
        assert [(await opened.check([high])).allowed for _ in range(3)] == [True, True, False]
        assert last_known.refuse([high]) is not None


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.7]), st.integers(0, 4), st.integers(0, 400_000)), max_size=30))
def test_the_denial_cache_refuses_only_what_the_law_refuses(made: list[tuple[float, int, int]]) -> None:
    now = 1_700_000_000_000_000
    last_known = LastKnown(10, StoreClock())
    state = None
    for reserve, cost, after in made:
        now += after
        last_known.clock = lambda: now  # noqa: B023
        demands = [Demand(b"a", Charge.of("x", QUOTA, cost, reserve=reserve))]
        remembered = last_known.refuse(demands)
        decision, (written,) = take(demands, [state], now)
        assert decision.allowed or not decision.owed[0] or remembered is not None
        assert remembered is None or remembered == decision
        last_known.record(demands, decision, last_known.epoch)
        state = written or state


@pytest.mark.parametrize("policy", [FailurePolicy.WHOLE, FailurePolicy.LOCAL])
async def test_the_reserve_is_kept_while_redis_is_unavailable(policy: FailurePolicy) -> None:
    low, high = (demand("a", burst=8, reserve=RESERVES[each], policy=policy) for each in ("low", "high"))
    async with redis_server() as redis, limiter(redis.url) as opened:
        assert (await opened.check([low])).allowed
        redis.kill()
        async with asyncio.timeout(DEADLINE):
            while not opened.is_degraded:
                await opened.check([demand("other", policy=policy)])
        verdicts = [await opened.check([each]) for each in [low] * 4 + [high] * 5]
    outcomes = [each.outcome for each in verdicts]
    assert outcomes == [Outcome.ALLOWED] * 3 + [Outcome.REFUSED] + [Outcome.ALLOWED] * 4 + [Outcome.REFUSED]
    assert all(each.degraded for each in verdicts)


def ask(fleet: FleetModel, worker: int, charge: Charge) -> Decision:
    return fleet.fallbacks[worker].take([Demand(KEY, charge)], InFlight())


def test_a_share_keeps_its_part_and_lets_a_costly_request_pass_when_it_is_full() -> None:
    fleet = FleetModel(QUOTA, FailurePolicy.LOCAL, 3)
    fleet.fail()
    low = Charge.of("limit", QUOTA, failure_policy=FailurePolicy.LOCAL, reserve=0.5)
    assert [ask(fleet, 0, low).allowed for _ in range(3)] == [True, True, False]
    assert [ask(fleet, 0, replace(low, ceiling=QUOTA.capacity)).allowed for _ in range(3)] == [True, True, False]
    costly = low.with_cost(6)
    assert [ask(fleet, 1, costly).allowed for _ in range(2)] == [True, False]
    assert not ask(fleet, 2, low.with_cost(7)).allowed
