"""`Limiter`: decisions while Redis is available, while it is unavailable, and when it is back."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import pytest
from redis.asyncio import Redis

from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import Outcome
from gateway.limits.charge import Demand, FailurePolicy
from gateway.redis.errors import StoreUnavailableError
from tests.redis.builders import Recorder, demand, failover_of, limiter, quota_demand
from tests.redis.fault_proxy import fault_proxy
from tests.redis_server import RedisServer, redis_server
from tests.waiting import DEADLINE, at_most, until

pytestmark = pytest.mark.usefixtures("redis_and_valkey")


async def allowed_of(opened: Limiter, demands: Sequence[Demand], times: int) -> int:
    return sum([(await opened.check(demands)).allowed for _ in range(times)])


async def kill(server: RedisServer, opened: Limiter) -> None:
    """Kill Redis, and wait until the limiter finds it unavailable."""
    server.kill()
    await until_degraded(opened)


async def until_degraded(opened: Limiter) -> None:
    async with asyncio.timeout(DEADLINE):
        while not opened.is_degraded:
            await opened.check([demand("probe", burst=10**5)])


async def evalsha_calls(client: "Redis") -> int:
    stats = await client.info("commandstats")
    calls: int = stats["cmdstat_evalsha"]["calls"]
    return calls


async def test_nothing_to_pay_is_allowed_without_asking() -> None:
    async with limiter("redis://127.0.0.1:9") as opened:
        assert (await opened.check([])).outcome is Outcome.ALLOWED


async def test_the_memory_limiter_decides_alone_and_is_never_degraded() -> None:
    async with limiter(None) as opened:
        assert (await opened.check([])).outcome is Outcome.ALLOWED
        assert await allowed_of(opened, [demand(burst=3)], 5) == 3
        assert not opened.is_degraded
        verdict = await opened.check([demand(burst=3)])
        assert (verdict.outcome, verdict.degraded) == (Outcome.REFUSED, False)
        opened.forget()
        assert not (await opened.check([demand(burst=3)])).allowed
        await opened.reset([b"a"])
        assert (await opened.check([demand(burst=3)])).allowed


async def test_a_refusal_that_is_certain_costs_no_round_trip() -> None:
    async with redis_server() as server, limiter(server.url) as opened, Redis(port=server.port) as client:
        assert await allowed_of(opened, [demand("rich", burst=100), demand(burst=2)], 3) == 2
        await client.config_resetstat()
        for _ in range(100):
            verdict = await opened.check([demand("rich", burst=100), demand(burst=2)])
            assert verdict.outcome is Outcome.REFUSED
            assert not verdict.degraded
            assert verdict.decision.refused == (1,)
        stats = await client.info("commandstats")
        # Nothing but heartbeats.
        assert "cmdstat_set" not in stats
        assert stats.get("cmdstat_mget", {"calls": 0})["calls"] == 0


async def test_a_remembered_refusal_ends_when_the_store_says_so() -> None:
    async with redis_server() as server, limiter(server.url) as opened:
        brief = [demand(rate="20/s", burst=1)]
        for _ in range(5):
            while (refused := await opened.check(brief)).allowed:
                pass  # at once again, unless the machine takes longer between two checks than a token does
            await until(lambda: failover_of(opened).last_known.refuse(brief) is None)
            assert 0 < refused.decision.owed[0] <= 50_000


@pytest.mark.parametrize("way", ["forget", "forget one", "reset", "other size"])
async def test_nothing_is_refused_by_memory_that_the_store_would_allow(way: str) -> None:
    async with redis_server() as server, limiter(server.url) as opened, Redis(port=server.port) as client:
        assert await allowed_of(opened, [demand(burst=2)], 3) == 2
        burst = 2
        if way == "reset":
            await opened.reset([b"a"])
        elif way == "other size":
            burst = 3
        else:
            await client.delete("gateway:bucket:a")
            opened.forget([b"a"] if way == "forget one" else None)
        assert (await opened.check([demand(burst=burst)])).allowed


async def test_a_decision_asked_for_before_a_reset_is_not_remembered() -> None:
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        Redis(port=server.port) as client,
        limiter(f"redis://127.0.0.1:{proxy.port}") as opened,
    ):
        await opened.check([demand(burst=1)])
        opened.forget()
        proxy.delay = 0.1
        before = proxy.replies
        check = asyncio.create_task(opened.check([demand(burst=1)]))
        await until(lambda: proxy.replies > before)
        await client.delete("gateway:bucket:a")
        opened.forget()
        assert not (await check).allowed
        proxy.delay = 0
        assert (await opened.check([demand(burst=1)])).allowed


async def test_a_redis_that_lost_its_data_is_noticed_within_seconds() -> None:
    async with redis_server() as server, limiter(server.url) as opened, Redis(port=server.port) as client:
        assert await allowed_of(opened, [demand(burst=2)], 3) == 2
        await client.flushall()
        await until(lambda: failover_of(opened).last_known.refuse([demand(burst=2)]) is None)
        assert (await opened.check([demand(burst=2)])).allowed


async def test_while_redis_is_unavailable_requests_are_decided_at_the_speed_of_memory() -> None:
    observer = Recorder()
    async with redis_server() as server, limiter(server.url, observer, deadline=0.05) as opened:
        await opened.check([demand()])
        server.pause()
        # Five checks wait for the deadline, then none; a thousand would take 50 seconds.
        async with at_most(5):
            verdicts = [await opened.check([demand(burst=10**5)]) for _ in range(1000)]
        assert all(verdict.allowed and verdict.degraded for verdict in verdicts)
        assert opened.is_degraded
        assert len(observer.lost) == 1
        server.resume()
        await until(lambda: not opened.is_degraded)
        assert len(observer.back) == 1
        assert not (await opened.check([demand(burst=10**5)])).degraded


async def test_a_gateway_starts_without_redis_and_finds_it_later() -> None:
    observer = Recorder()
    async with redis_server() as server:
        server.kill()
        async with limiter(server.url, observer, workers=2) as opened:
            assert opened.is_degraded
            assert await allowed_of(opened, [demand(burst=10)], 10) == 5
            await server.start()
            await until(lambda: not opened.is_degraded)
            assert (len(observer.lost), len(observer.back)) == (1, 1)


async def test_each_new_reason_of_an_outage_is_reported_once() -> None:
    observer = Recorder()
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        limiter(f"redis://127.0.0.1:{proxy.port}", observer, deadline=0.2) as opened,
    ):
        await proxy.cut()
        await until_degraded(opened)
        (refused,) = observer.lost
        proxy.is_hung = True
        await proxy.start()
        await until(lambda: observer.still_lost)
        await proxy.cut()
        proxy.is_hung = False
        await proxy.start()
        await until(lambda: observer.back)
        reasons = [*observer.lost, *observer.still_lost]
        assert len(reasons) == len(set(reasons))
        assert "Connect" in refused or "refused" in refused


async def test_one_lost_reply_does_not_open_the_breaker() -> None:
    observer = Recorder()
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        limiter(f"redis://127.0.0.1:{proxy.port}", observer) as opened,
    ):
        await opened.check([demand()])
        proxy.reset_after = 3
        verdict = await opened.check([demand("b")])
        assert verdict.allowed
        assert verdict.degraded
        assert not (await opened.check([demand("c")])).degraded
        assert observer.lost == []


async def test_each_worker_enforces_its_share_of_the_fleet_it_last_saw() -> None:
    async with redis_server() as server, AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(limiter(server.url)) for _ in range(4)]
        await until(lambda: all(failover_of(worker).fallback.workers == 4 for worker in fleet))
        server.kill()
        for worker in fleet:
            await until_degraded(worker)
        assert [await allowed_of(worker, [demand(burst=20)], 20) for worker in fleet] == [5, 5, 5, 5]


async def test_a_share_below_one_token_still_lets_one_through() -> None:
    async with redis_server() as server, limiter(server.url, workers=6) as opened:
        await kill(server, opened)
        assert await allowed_of(opened, [demand(burst=2)], 10) == 1


async def test_a_request_that_outweighs_the_share_is_paid_off_at_the_rate_of_the_share() -> None:
    async with redis_server() as server, limiter(server.url, workers=10) as opened:
        await kill(server, opened)
        slow = [demand(rate="1/min", burst=1)]
        assert (await opened.check(slow)).allowed
        verdict = await opened.check(slow)
        assert not verdict.allowed
        assert 540_000_000 < verdict.decision.owed[0] <= 600_000_000


async def test_a_bucket_known_to_be_empty_stays_empty() -> None:
    async with redis_server() as server, limiter(server.url) as opened:
        assert await allowed_of(opened, [demand(burst=3)], 3) == 3
        assert await allowed_of(opened, [demand("half", burst=4)], 2) == 2
        await kill(server, opened)
        assert await allowed_of(opened, [demand(burst=3)], 5) == 0
        assert await allowed_of(opened, [demand("half", burst=4)], 5) == 2


async def test_a_calendar_quota_is_enforced_without_redis_and_charged_when_it_is_back() -> None:
    async with redis_server() as server, limiter(server.url) as opened:
        assert await allowed_of(opened, [quota_demand("known", "5/month")], 3) == 3
        await kill(server, opened)
        assert await allowed_of(opened, [quota_demand("known", "5/month")], 5) == 2
        assert await allowed_of(opened, [quota_demand("new", "4/month")], 3) == 3
        await server.start()
        await until(lambda: not opened.is_degraded)
        assert (await opened.check([quota_demand("known", "5/month", 0)])).decision.owed == (5,)
        assert (await opened.check([quota_demand("new", "4/month", 0)])).decision.owed == (3,)


async def test_when_redis_is_down_may_be_allow_or_refuse() -> None:
    async with redis_server() as server, limiter(server.url) as opened:
        allowed = demand("allowed", burst=1, policy=FailurePolicy.ALLOW)
        refused = demand("refused", burst=1, policy=FailurePolicy.REFUSE)
        assert (await opened.check([allowed, refused])).outcome is Outcome.ALLOWED
        assert (await opened.check([allowed, refused])).outcome is Outcome.REFUSED
        await kill(server, opened)
        assert await allowed_of(opened, [allowed], 5) == 5
        verdict = await opened.check([allowed, refused, demand()])
        assert verdict.outcome is Outcome.UNAVAILABLE
        assert verdict.degraded
        # Other limits of the same request still count, and shadows never block.
        assert await allowed_of(opened, [allowed, demand("b", burst=2)], 5) == 2
        shadow = demand("shadow", burst=1, enforced=False, policy=FailurePolicy.REFUSE)
        assert (await opened.check([shadow])).outcome is Outcome.ALLOWED


async def test_what_was_spent_locally_is_charged_when_redis_is_back() -> None:
    observer = Recorder()
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        limiter(server.url) as other,
        limiter(f"redis://127.0.0.1:{proxy.port}", observer) as opened,
    ):
        await until(lambda: failover_of(opened).fallback.workers == 2)
        await proxy.cut()
        await until_degraded(opened)
        assert await allowed_of(opened, [demand(burst=10)], 10) == 5
        assert (await other.check([demand(burst=10, cost=2)])).allowed
        await proxy.start()
        await until(lambda: observer.back)
        looks = [(await worker.check([demand(burst=10, cost=0)])).decision.owed[0] for worker in (opened, other)]
        assert [round(owed / 3_600_000_000, 2) for owed in looks] == [7, 7]


async def test_what_was_known_and_spent_is_put_back_into_a_redis_that_comes_back_empty() -> None:
    observer = Recorder()
    async with redis_server() as server, limiter(server.url, observer) as opened:
        assert await allowed_of(opened, [demand(burst=10)], 4) == 4
        await kill(server, opened)
        assert await allowed_of(opened, [demand(burst=10)], 3) == 3
        await server.start()
        await until(lambda: observer.back)
        assert await allowed_of(opened, [demand(burst=10)], 10) == 3


async def test_what_does_not_fit_into_a_bucket_weighs_on_the_share_until_it_does() -> None:
    async with redis_server() as server, fault_proxy(server.port) as proxy, limiter(server.url) as other:
        observer = Recorder()
        async with limiter(f"redis://127.0.0.1:{proxy.port}", observer) as opened:
            await until(lambda: failover_of(opened).fallback.workers == 2)
            for outage in range(1, 4):
                await proxy.cut()
                await until_degraded(opened)
                # The other one empties the bucket, which this one cannot know.
                spent = await allowed_of(opened, [demand(burst=10)], 10)
                assert spent == (5 if outage == 1 else 0)
                assert await allowed_of(other, [demand(burst=10)], 10) == (10 if outage == 1 else 0)
                await proxy.start()
                await until(partial(lambda times: len(observer.back) == times, outage))
                failover_of(opened).last_known.forget()


async def test_a_failed_check_while_redis_answers_others_is_charged_at_the_next_heartbeat() -> None:
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        limiter(f"redis://127.0.0.1:{proxy.port}") as opened,
    ):
        await opened.check([demand("warm")])
        proxy.reset_after = 0
        # Redis charges it and the answer is lost, so it is charged twice in the end: never too little.
        assert (await opened.check([demand(burst=10)])).degraded
        await until(lambda: len(failover_of(opened).fallback) == 0)
        owed = (await opened.check([demand(burst=10, cost=0)])).decision.owed[0]
        assert round(owed / 3_600_000_000, 2) == 2


async def test_a_reset_while_redis_is_unavailable_raises_and_takes_effect_in_this_worker() -> None:
    async with redis_server() as server, limiter(server.url) as opened:
        assert await allowed_of(opened, [demand(burst=2)], 3) == 2
        await kill(server, opened)
        assert await allowed_of(opened, [demand(burst=2)], 3) == 0
        with pytest.raises(StoreUnavailableError):
            await opened.reset([b"a"])
        assert await allowed_of(opened, [demand(burst=2)], 3) == 2


async def test_a_worker_that_stops_or_dies_is_removed_from_the_fleet() -> None:
    async with redis_server() as server, limiter(server.url) as opened, Redis(port=server.port) as client:
        async with limiter(server.url):
            await until(lambda: failover_of(opened).fallback.workers == 2)
        assert await client.zcard("gateway:fleet") == 1
        await client.zadd("gateway:fleet", {"dead": time.time() * 1_000_000})
        await until(lambda: failover_of(opened).fallback.workers == 2)
        # However long it takes: no worker is removed before it was silent for five seconds.
        await until(lambda: failover_of(opened).fallback.workers == 1)
        assert await client.zcard("gateway:fleet") == 1


async def test_a_fleet_does_not_shrink_because_redis_lost_its_data() -> None:
    async with redis_server() as server, AsyncExitStack() as stack:
        fleet = [await stack.enter_async_context(limiter(server.url)) for _ in range(3)]
        await until(lambda: all(failover_of(worker).fallback.workers == 3 for worker in fleet))
        for worker in fleet:
            await kill(server, worker)
        await server.start()
        await until(lambda: not any(worker.is_degraded for worker in fleet))
        assert [failover_of(worker).fallback.workers for worker in fleet] == [3, 3, 3]


async def test_workers_that_come_back_wait_for_each_other_and_then_agree_within_a_second() -> None:
    async with redis_server() as server, AsyncExitStack() as stack:
        observers = [Recorder() for _ in range(3)]
        fleet = [await stack.enter_async_context(limiter(server.url, observer)) for observer in observers]
        await until(lambda: all(failover_of(worker).fallback.workers == 3 for worker in fleet))
        for worker in fleet:
            await kill(server, worker)
        assert [await allowed_of(worker, [demand(burst=30)], 20) for worker in fleet] == [10, 10, 10]
        await server.start()
        async with at_most(1.0):
            await until(lambda: all(observer.back for observer in observers))
            owed = [(await worker.check([demand(burst=30, cost=0)])).decision.owed[0] for worker in fleet]
        assert [round(each / 3_600_000_000, 2) for each in owed] == [30, 30, 30]


async def test_a_limiter_closes_whatever_it_is_doing() -> None:
    async with redis_server() as server:
        for turns in range(40):
            async with asyncio.timeout(5), limiter(server.url) as opened:  # which polls at once
                check = asyncio.create_task(opened.check([demand(burst=1000)]))
                for _ in range(turns):
                    await asyncio.sleep(0)  # how far it gets is what differs
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)
