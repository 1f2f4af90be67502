"""What everything that charges buckets does, wherever it keeps them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest

from gateway.limiter.limiter import Limiter
from gateway.limits.bucket import Decision
from gateway.limits.charge import Demand
from tests.redis.builders import demand, limiter, quota_demand, redis_store
from tests.redis_server import every_server, redis_server


@dataclass
class Store:
    """The two ways to touch a bucket."""

    take: Callable[[Sequence[Demand]], Awaitable[Decision]]
    reset: Callable[[Sequence[bytes]], Awaitable[None]]


def store_of(opened: Limiter) -> Store:
    async def take(demands: Sequence[Demand]) -> Decision:
        return (await opened.check(demands)).decision

    return Store(take, opened.reset)


@pytest.fixture(params=["MemoryLimiter", "FailoverLimiter", *every_server()])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "MemoryLimiter":
        async with limiter(None) as opened:
            yield store_of(opened)
    elif request.param == "FailoverLimiter":
        async with redis_server() as redis, limiter(redis.url) as opened:
            yield store_of(opened)
    else:
        async with redis_server(version=request.param) as redis, redis_store(redis.url) as direct:
            yield Store(direct.take, direct.reset)


async def test_a_bucket_gives_its_burst_and_then_nothing(store: Store) -> None:
    decisions = [await store.take([demand(burst=3)]) for _ in range(5)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False, False]
    assert decisions[3].refused == (0,)


async def test_a_decision_tells_what_was_owed_before(store: Store) -> None:
    hour = 3_600_000_000
    first = await store.take([demand(cost=2)])
    second = await store.take([demand()])
    assert first.owed == (0,)
    assert second.owed == (2 * hour - (second.now - first.now),)


async def test_a_refused_check_costs_nothing_anywhere(store: Store) -> None:
    poor, rich = demand("poor", burst=1), demand("rich", burst=5)
    assert (await store.take([poor, rich])).allowed
    for _ in range(3):
        refused = await store.take([rich, poor])
        assert not refused.allowed
        assert refused.refused == (1,)
    assert [(await store.take([rich])).allowed for _ in range(5)] == [True] * 4 + [False]


async def test_a_shadow_bucket_never_blocks_and_is_charged_when_it_can_pay(store: Store) -> None:
    shadow = demand("shadow", burst=1, enforced=False)
    decisions = [await store.take([demand("real"), shadow]) for _ in range(3)]
    assert [decision.allowed for decision in decisions] == [True] * 3
    assert [decision.refused for decision in decisions] == [(), (1,), (1,)]


async def test_a_shadow_bucket_is_not_charged_for_a_refused_check(store: Store) -> None:
    poor, shadow = demand("poor", burst=1), demand("shadow", burst=2, enforced=False)
    for _ in range(3):
        await store.take([poor, shadow])
    look = await store.take([demand("shadow", burst=2, cost=2)])
    assert not look.allowed
    assert (await store.take([demand("shadow", burst=2)])).allowed


async def test_a_cost_of_nothing_looks_and_does_not_touch(store: Store) -> None:
    for _ in range(3):
        assert (await store.take([demand(cost=0)])).owed == (0,)


async def test_a_cost_above_the_burst_can_never_be_paid(store: Store) -> None:
    assert not (await store.take([demand(burst=2, cost=3)])).allowed
    assert (await store.take([demand(burst=2, cost=2)])).allowed


async def test_a_bucket_refills_at_its_rate(store: Store) -> None:
    fast = demand(rate="100/s", burst=1)
    first = await store.take([fast])
    await asyncio.sleep(0.011)
    second = await store.take([fast])
    assert (first.allowed, second.allowed, second.owed) == (True, True, (0,))


async def test_buckets_are_told_apart_by_their_keys(store: Store) -> None:
    for key in (b"a", b"a:", b"\x00\xff", b"a b", "ü".encode(), b"{a}"):
        decision = await store.take([Demand(key, demand(burst=1).charge)])
        assert decision.owed == (0,), key


async def test_a_changed_rate_keeps_the_tokens_that_were_spent(store: Store) -> None:
    await store.take([demand(rate="1/h", burst=10, cost=4)])
    decision = await store.take([demand(rate="2/h", burst=10, cost=0)])
    assert 4 * 1_800_000_000 - 60_000_000 <= decision.owed[0] <= 4 * 1_800_000_000


async def test_a_reset_bucket_is_full(store: Store) -> None:
    await store.take([demand(burst=1), demand("b", burst=1)])
    await store.reset([b"a"])
    assert (await store.take([demand(burst=1)])).allowed
    assert not (await store.take([demand("b", burst=1)])).allowed


async def test_a_thousand_checks_at_once_take_what_is_there_and_no_more(store: Store) -> None:
    shared = demand("shared", burst=100)
    decisions = await asyncio.gather(*(store.take([demand(f"u{user}"), shared]) for user in range(1000)))
    assert sum(decision.allowed for decision in decisions) == 100
    # The refused ones kept their own tokens.
    owed = [(await store.take([demand(f"u{user}", cost=0)])).owed[0] > 0 for user in range(1000)]
    assert owed == [decision.allowed for decision in decisions]


async def test_a_calendar_quota_gives_all_of_itself_at_once_and_then_nothing(store: Store) -> None:
    """In the same check as a rate, and all or nothing."""
    both = [quota_demand("month", "3/month"), demand("rate", burst=5)]
    decisions = [await store.take(both) for _ in range(5)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False, False]
    assert [decision.owed[0] for decision in decisions] == [0, 1, 2, 3, 3]
    assert [(await store.take([demand("rate", burst=5)])).allowed for _ in range(3)] == [True, True, False]
    larger = await store.take([quota_demand("month", "5/month", 2)])
    assert (larger.allowed, larger.owed) == (True, (3,))
    await store.reset([b"month"])
    assert (await store.take([quota_demand("month", "3/month", 3)])).allowed
