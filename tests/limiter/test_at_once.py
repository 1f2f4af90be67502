"""Requests at once: counted while they are in flight, by the true number of each worker, whatever happens."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from gateway.limiter.fallback import Fallback
from gateway.limiter.last_known import LastKnown
from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import Verdict
from gateway.limits.at_once import AtOnce
from gateway.limits.bucket import Decision
from gateway.limits.charge import Charge, Demand, FailurePolicy
from gateway.limits.in_flight import InFlight
from gateway.limits.quota import Quota
from gateway.redis.client import RedisClient, Reply
from gateway.redis.clock import StoreClock
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call
from gateway.redis.slots import STALE, Slots
from gateway.redis.store import RedisStore
from tests.redis.builders import demand, limiter, redis_store
from tests.redis.fault_proxy import fault_proxy
from tests.redis_server import RedisServer, redis_server
from tests.waiting import eventually, until


def at_once(
    key: str = "a", most: int = 2, *, enforced: bool = True, policy: FailurePolicy = FailurePolicy.WHOLE
) -> Demand:
    charge = Charge.of(key, Quota(AtOnce(), most), enforced=enforced, failure_policy=policy, refunds=True)
    return Demand(key.encode(), charge)


def numbers(redis: RedisServer) -> dict[bytes, Counter[bytes]]:
    """What Redis counts, by bucket and worker."""
    with Redis(port=redis.port) as client:
        return {key: Counter({field: int(n) for field, n in client.hgetall(key).items()})
                for key in client.keys("gateway:bucket:*") if client.type(key) == b"hash"}  # fmt: skip


async def none_is_left(redis: RedisServer) -> None:
    async def reached() -> bool:
        return numbers(redis) == {}

    await eventually(reached)


@pytest.fixture(params=["MemoryLimiter", "FailoverLimiter"])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    if request.param == "MemoryLimiter":
        async with limiter(None) as made:
            yield made
    else:
        async with redis_server() as redis, limiter(redis.url) as made:
            yield made
            await none_is_left(redis)


async def test_so_many_are_in_flight_and_one_that_ends_makes_room_at_once(opened: Limiter) -> None:
    one = at_once()
    verdicts = [await opened.check([one]) for _ in range(3)]
    assert [(each.allowed, each.decision.owed) for each in verdicts] == [(True, (0,)), (True, (1,)), (False, (2,))]
    opened.settle([one], verdicts[0], 0)
    again = await opened.check([one])
    assert again.allowed
    assert opened.in_flight.by_limit["a"] == 2
    for verdict in (verdicts[1], again):
        opened.settle([one], verdict, 0)
    assert len(opened.in_flight) == 0


async def test_rates_and_requests_at_once_are_taken_together_or_not_at_all(opened: Limiter) -> None:
    rate, one = demand("rate", burst=3), at_once(most=1)
    first = await opened.check([rate, one])
    refused = await opened.check([rate, one])
    assert (first.allowed, refused.allowed, refused.decision.refused) == (True, False, (1,))
    opened.settle([rate, one], first, 0)
    for _ in range(2):
        verdict = await opened.check([rate, one])
        assert verdict.allowed
        opened.settle([rate, one], verdict, 0)
    over = await opened.check([rate, one])
    assert (over.allowed, over.decision.refused) == (False, (0,))
    assert len(opened.in_flight) == 0


async def test_a_shadow_counts_what_it_would_have_admitted_and_a_look_counts_nothing(opened: Limiter) -> None:
    shadow = at_once(most=1, enforced=False)
    verdicts = [await opened.check([shadow]) for _ in range(3)]
    assert [each.decision.refused for each in verdicts] == [(), (0,), (0,)]
    look = Demand(shadow.key, shadow.charge.with_cost(0))
    assert (await opened.check([look])).decision.owed == (1,)
    for verdict in verdicts:
        opened.settle([shadow], verdict, 0)
    assert (await opened.check([look])).decision.owed == (0,)


async def test_whoever_is_cancelled_while_waiting_holds_nothing() -> None:
    async with redis_server() as redis, limiter(redis.url) as opened:
        one = at_once(most=3)
        held = await opened.check([one])
        for turns in range(6):
            waiting = [asyncio.ensure_future(opened.check([one])) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for each in waiting:
                each.cancel()
            done = await asyncio.gather(*waiting, return_exceptions=True)
            for verdict in done:
                if isinstance(verdict, Verdict) and verdict.allowed:
                    opened.settle([one], verdict, 0)
        await until(lambda: opened.in_flight.count(b"a") == 1)

        async def counts_one() -> bool:
            return sum(numbers(redis)[b"gateway:bucket:a"].values()) == 1

        await eventually(counts_one)
        opened.settle([one], held, 0)
        await none_is_left(redis)


async def test_workers_share_a_limit_and_one_that_is_gone_counts_no_more() -> None:
    one = at_once(most=3)
    async with redis_server() as redis, limiter(redis.url) as first:
        async with limiter(redis.url) as second:
            held = [await first.check([one]), await second.check([one]), await second.check([one])]
            assert [each.allowed for each in held] == [True] * 3
            assert not (await first.check([one])).allowed
            assert sorted(numbers(redis)[b"gateway:bucket:a"].values()) == [1, 2]

        async def there_is_room() -> bool:  # the second has left the fleet without a word about its requests
            verdict = await first.check([one])
            if verdict.allowed:
                first.settle([one], verdict, 0)
            return verdict.allowed

        await eventually(there_is_room)
        assert sum(numbers(redis)[b"gateway:bucket:a"].values()) <= 2
        first.settle([one], held[0], 0)
        await none_is_left(redis)


async def test_a_worker_that_joined_a_moment_ago_counts_at_once() -> None:
    """Others have not heard of it yet: that it joined after their last heartbeat is enough."""
    one = at_once(most=2)
    async with redis_server() as redis, limiter(redis.url) as first, limiter(redis.url) as second:
        assert (await second.check([one])).allowed
        assert (await second.check([one])).allowed
        assert not (await first.check([one])).allowed


async def test_after_an_outage_and_lost_data_redis_has_the_true_numbers_again() -> None:
    one, other = at_once(most=2), at_once("b", most=5)
    async with redis_server() as redis, limiter(redis.url, deadline=0.05) as opened:
        held = [await opened.check([one]), await opened.check([one]), await opened.check([other])]
        assert all(each.allowed for each in held)
        redis.kill()
        await until_unavailable(opened)
        assert not (await opened.check([one])).allowed  # its own two are still in flight
        opened.settle([one], held[0], 0)
        in_outage = await opened.check([one])
        assert (in_outage.allowed, in_outage.degraded) == (True, True)
        await redis.restart()
        await until(lambda: not opened.is_degraded)

        async def counted() -> bool:
            found = numbers(redis)
            return {key: sum(each.values()) for key, each in found.items()} == {
                b"gateway:bucket:a": 2, b"gateway:bucket:b": 1,
            }  # fmt: skip

        await eventually(counted)
        assert not (await opened.check([one])).allowed
        for demand_, verdict in ((one, held[1]), (one, in_outage), (other, held[2])):
            opened.settle([demand_], verdict, 0)
        await none_is_left(redis)


async def until_unavailable(opened: Limiter) -> None:
    while not opened.is_degraded:
        await opened.check([demand("probe")])


async def test_a_call_that_redis_carries_out_too_late_leaves_nothing_behind() -> None:
    async with redis_server() as redis, limiter(redis.url, deadline=0.03) as opened:
        one = at_once(most=1)
        first = await opened.check([one])
        opened.settle([one], first, 0)
        await none_is_left(redis)
        redis.pause()
        late = await opened.check([one])
        assert late.degraded
        opened.settle([one], late, 0)
        redis.resume()
        await until(lambda: not opened.is_degraded)
        await none_is_left(redis)
        assert (await opened.check([one])).allowed


class Overtaken:
    """Sends the first call to Redis when it is told to, and those after it at once, as on connections of their own."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._is_first = True
        self.go = asyncio.Event()
        self.done = asyncio.Event()

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        if not self._is_first:
            return await self._client.run(calls)
        self._is_first = False
        await self.go.wait()
        replies = await self._client.run(calls)
        self.done.set()
        return replies


@pytest.mark.pure
@pytest.mark.parametrize("most", [1, 2])
async def test_a_late_call_that_another_overtakes_leaves_no_number_that_is_not_true(most: int) -> None:
    """It says what was true when it was sent, and Redis carries it out last; it allows its check, or it does not."""
    async with redis_server() as redis, redis_store(redis.url, deadline=0.1) as store:
        held = await store.take([at_once()])
        overtaken: Any = Overtaken(store._client)
        store._client = overtaken
        with pytest.raises(StoreUnavailableError):
            await store.take([at_once(most=most)])
        store.release([at_once()], held)
        store.send()
        await none_is_left(redis)
        overtaken.go.set()
        await overtaken.done.wait()
        assert sum(numbers(redis)[b"gateway:bucket:a"].values()) == most

        async def is_true_again() -> bool:
            store.send()  # as with each heartbeat
            return numbers(redis) == {}

        await eventually(is_true_again)


async def test_what_a_worker_wrote_before_it_joined_again_counts_no_more() -> None:
    """Redis has lost its data, and the worker a check later than that."""
    one, other = at_once(most=5), at_once(most=5)
    async with redis_server() as redis, redis_store(redis.url) as first, redis_store(redis.url) as second:
        for store in (first, second):
            await heartbeat(store)
        held = [await first.take([one]), await first.take([one])]
        with Redis(port=redis.port) as client:
            client.flushall()
        held.append(await first.take([one]))  # written as the worker that it was
        await heartbeat(first)
        await heartbeat(second)
        held.append(await first.take([one]))
        assert (await second.take([Demand(other.key, other.charge.with_cost(0))])).owed == (4,)
        for decision in held:
            first.release([one], decision)
        first.send()
        await none_is_left(redis)


async def test_a_step_of_redis_clock_leaves_no_number_unwritten() -> None:
    """The first call after it comes too late by that clock, and changes no number; the next one does."""
    async with redis_server() as redis, redis_store(redis.url) as store:
        await heartbeat(store)
        store._clock._offset -= 2 * STALE
        assert (await store.take([at_once()])).allowed

        async def is_counted() -> bool:
            return sum(numbers(redis).get(b"gateway:bucket:a", Counter()).values()) == 1

        await eventually(is_counted)


async def test_what_was_decided_without_redis_is_told_to_it_at_the_next_heartbeat() -> None:
    """Also where Redis was not even asked, because the call before hung."""
    async with (
        redis_server() as redis,
        fault_proxy(redis.port) as faulty,
        limiter(faulty.url, deadline=0.05) as opened,
    ):
        assert (await opened.check([demand("warm")])).allowed
        faulty.is_hung = True
        hanging = asyncio.ensure_future(opened.check([demand("first")]))
        for _ in range(5):
            await asyncio.sleep(0)
        second = await opened.check([at_once()])
        faulty.is_hung = False
        await hanging
        assert (second.allowed, second.degraded, opened.is_degraded) == (True, True, False)

        async def is_counted() -> bool:
            return sum(numbers(redis).get(b"gateway:bucket:a", Counter()).values()) == 1

        await eventually(is_counted)
        opened.settle([at_once()], second, 0)
        await none_is_left(redis)


def test_what_begins_and_ends_in_an_outage_leaves_nothing_to_tell() -> None:
    """However many users there are."""
    slots = Slots(StoreClock())
    for user in range(100):
        one = at_once(f"u{user}")
        allowed = Decision(True, 0, (0,), ())
        slots.hold_untold([one], allowed)
        assert slots.is_due
        slots.release([one], allowed)
    assert not slots.is_due
    assert slots.take_due() == []


@pytest.mark.parametrize("policy", [FailurePolicy.WHOLE, FailurePolicy.LOCAL])
@pytest.mark.parametrize(("most", "workers", "share"), [(10, 4, 2), (3, 4, 1), (8, 1, 8)])
def test_without_redis_a_worker_has_its_share_and_at_least_one(
    most: int, workers: int, share: int, policy: FailurePolicy
) -> None:
    clock = StoreClock()
    fallback, in_flight, one = Fallback(LastKnown(10, clock), 10), InFlight(), at_once(most=most, policy=policy)
    fallback.workers = workers
    admitted = 0
    while (decision := fallback.take([one], in_flight)).allowed:
        in_flight.hold([one], decision)
        admitted += 1
    assert admitted == share


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(st.sampled_from(["begin", "begin", "end", "die", "join"]), st.integers(0, 2), st.integers(0, 5)),
    max_size=40,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path_factory.mktemp("redis"))
    started.launch()
    yield started
    started.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(played=steps, most=st.integers(1, 4))
def test_redis_decides_as_the_law_does_on_the_true_numbers_of_those_alive(
    server: RedisServer, played: list[Step], most: int
) -> None:
    """Three workers begin and end requests, die and are replaced; the law sees all requests of those that are alive."""
    with Redis(port=server.port) as client:
        client.flushall()
    asyncio.run(play(server, played, most))


async def play(server: RedisServer, played: list[Step], most: int) -> None:
    one = at_once(most=most)
    async with AsyncExitStack() as stack:
        alive: dict[int, RedisStore] = {}
        held: dict[int, list[Decision]] = {}

        async def join(who: int) -> None:
            alive[who], held[who] = await stack.enter_async_context(redis_store(server.url)), []
            await heartbeat(alive[who])

        for who in range(3):
            await join(who)
        for step, who, which in played:
            if step == "join" and who not in alive:
                await join(who)
            elif step == "die" and who in alive:
                store = alive.pop(who)
                await store.remove_worker(store.slots.name)
                del held[who]
                for other in alive.values():
                    await heartbeat(other)
            elif step == "begin" and who in alive:
                in_flight = sum(map(len, held.values()))
                decision = await alive[who].take([one])
                assert (decision.owed, decision.allowed) == ((in_flight,), in_flight < most)
                if decision.allowed:
                    held[who].append(decision)
            elif step == "end" and held.get(who):
                alive[who].release([one], held[who].pop(which % len(held[who])))
                await alive[who].take([demand("other")])  # which takes the true number along


async def heartbeat(store: RedisStore) -> None:
    await store.send_heartbeat(store.heartbeat(store.slots.name, expiry=0))
