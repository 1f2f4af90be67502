"""What ended requests cost more or less than was charged is settled: off the request's path, once, and owed in full."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic

import pytest
from redis.asyncio import Redis

from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import Verdict
from gateway.limits.charge import Demand
from tests.redis.builders import Recorder, demand, limiter
from tests.redis_server import RedisServer, redis_server
from tests.waiting import eventually, until

HOUR = 3_600_000_000
"""Microseconds in which a token comes back to the buckets of `demand`."""


def estimated(key: str = "a", cost: int = 5, *, burst: int = 100, rate: str = "1/h") -> Demand:
    plain = demand(key, cost=cost, burst=burst, rate=rate)
    return Demand(plain.key, replace(plain.charge, refunds=True))


@pytest.fixture(params=["MemoryLimiter", "FailoverLimiter"])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    if request.param == "MemoryLimiter":
        async with limiter(None) as made:
            yield made
    else:
        async with redis_server() as redis, limiter(redis.url) as made:
            yield made


async def check(opened: Limiter, *demands: Demand) -> Verdict:
    verdict = await opened.check(demands)
    assert verdict.allowed
    return verdict


async def spent(opened: Limiter, key: str = "a", *, burst: int = 100) -> int:
    """Whole tokens that a bucket owes, as far as a request can see."""
    decision = (await opened.check([estimated(key, 0, burst=burst)])).decision
    return -(-decision.owed[0] // HOUR)


async def owes(opened: Limiter, tokens: int, key: str = "a") -> None:
    async def reached() -> bool:
        return await spent(opened, key) == tokens

    await eventually(reached)


@pytest.mark.parametrize(("difference", "tokens"), [(0, 5), (37, 42), (-3, 2), (-5, 0), (-9, 0)])
async def test_a_difference_is_charged_or_refunded_and_no_bucket_is_more_than_full(
    opened: Limiter, difference: int, tokens: int
) -> None:
    one = estimated()
    opened.settle([one], await check(opened, one), difference)
    await owes(opened, tokens)


async def test_all_buckets_that_were_charged_are_settled_and_those_that_could_not_pay_are_not(opened: Limiter) -> None:
    shadow = estimated("shadow", burst=3)
    shadow = replace(shadow, charge=replace(shadow.charge, enforced=False))
    demands = [estimated("a"), shadow, estimated("b")]
    opened.settle(demands, await check(opened, *demands), 10)
    await owes(opened, 15, "a")
    await owes(opened, 15, "b")
    assert await spent(opened, "shadow", burst=3) == 0


async def test_an_overrun_is_owed_in_full_and_a_refund_is_taken_from_it(opened: Limiter) -> None:
    one = estimated()
    verdict = await check(opened, one)
    opened.settle([one], verdict, 300)
    await owes(opened, 305)
    assert not (await opened.check([one])).allowed
    opened.settle([one], verdict, -295)
    await owes(opened, 10)
    assert (await opened.check([one])).allowed


async def test_a_refusal_is_not_remembered_of_a_bucket_that_may_be_refunded(opened: Limiter) -> None:
    most = estimated(cost=100)
    verdict = await check(opened, most)
    assert not (await opened.check([most])).allowed
    opened.settle([most], verdict, -100)

    async def passes() -> bool:
        return (await opened.check([most])).allowed

    await eventually(passes)


async def test_a_thousand_settlements_are_one_debt_and_few_round_trips() -> None:
    async with redis_server() as redis, limiter(redis.url) as opened:
        one = estimated(cost=1, burst=10_000)
        verdict = await check(opened, one)
        before = await scripts_run(redis)
        for _ in range(1000):
            opened.settle([one], verdict, 2)

        async def settled() -> bool:
            return await spent(opened, burst=10_000) == 2001

        await eventually(settled)
        assert await scripts_run(redis) - before < 30  # heartbeats, and what `spent` asks


async def scripts_run(redis: RedisServer) -> int:
    async with Redis(port=redis.port) as client:
        return int((await client.info("commandstats"))["cmdstat_evalsha"]["calls"])


async def test_what_ends_while_redis_is_unavailable_stays_charged_and_is_counted() -> None:
    observer = Recorder()
    async with redis_server() as redis, limiter(redis.url, observer, deadline=0.05) as opened:
        one, other = estimated(), estimated("other")
        verdict = await check(opened, one, other)
        redis.kill()
        while not opened.is_degraded:
            await opened.check([one])
        opened.settle([one, other], verdict, 50)
        assert observer.lost_settlements == 2
        await redis.restart()
        await until(lambda: not opened.is_degraded)
        assert await spent(opened) < 50


async def test_what_is_in_flight_when_redis_fails_is_counted() -> None:
    observer = Recorder()
    async with redis_server() as redis, limiter(redis.url, observer, deadline=0.05) as opened:
        one = estimated()
        verdict = await check(opened, one)
        redis.pause()
        opened.settle([one], verdict, 50)
        await until(lambda: observer.lost_settlements == 1)
        redis.resume()


async def test_a_limiter_that_closes_settles_what_waits() -> None:
    async with redis_server() as redis:
        async with limiter(redis.url) as opened:
            one = estimated()
            opened.settle([one], await check(opened, one), 37)
        async with limiter(redis.url) as opened:
            assert await spent(opened) == 42


async def test_all_that_requests_cost_is_within_the_bound_at_a_real_redis() -> None:
    """B + R t + (most in flight) x (at_most - estimate), see docs/bound.md; and in the end all of it is owed."""
    estimate, at_most, together = 2, 9, 8
    one = estimated(cost=estimate, burst=20, rate="100/s")
    async with redis_server() as redis, limiter(redis.url) as opened:
        began, cost = monotonic(), 0

        async def client(number: int) -> None:
            nonlocal cost
            for turn in range(40):
                verdict = await opened.check([one])
                await asyncio.sleep(0.002)
                if verdict.allowed:
                    actual = (number * 7 + turn * 3) % (at_most + 1)
                    cost += actual
                    opened.settle([one], verdict, actual - estimate)
                    assert cost <= 20 + 100 * (monotonic() - began) + together * (at_most - estimate)

        async with asyncio.TaskGroup() as group:
            for number in range(together):
                group.create_task(client(number))
        assert cost > 20
