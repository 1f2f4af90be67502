"""`RedisStore`: one round trip for all who wait, and nothing but `StoreUnavailableError` when there is no answer."""

import asyncio
import inspect
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis.exceptions
from redis.asyncio import Redis

from gateway.redis.client import PooledClient
from gateway.redis.clock import StoreClock
from gateway.redis.connection import RedisConnection
from gateway.redis.errors import StoreUnavailableError, unavailable
from gateway.redis.scripts import TAKE, Call
from gateway.redis.store import RedisStore
from tests.redis.builders import demand, pooled_client_of, redis_store
from tests.redis.fault_proxy import fault_proxy
from tests.redis_server import RedisServer, every_server, redis_server
from tests.waiting import at_most, eventually, until

on_redis_and_valkey = pytest.mark.usefixtures("redis_and_valkey")


async def calls_of(client: "Redis", command: str) -> int:
    stats: dict[str, Any] = await client.info("commandstats")
    return sum(entry["calls"] for name, entry in stats.items() if name.partition("_")[2] == command)


def client_of(server: RedisServer) -> "Redis":
    return Redis(port=server.port, protocol=2)


@on_redis_and_valkey
async def test_checks_that_wait_go_together() -> None:
    async with redis_server() as server, redis_store(server.url) as store, client_of(server) as client:
        await store.take([demand()])
        before = await calls_of(client, "evalsha")
        await asyncio.gather(*(store.take([demand(f"u{user}"), demand("all")]) for user in range(256)))
        # 128 in a call, and the first turn of the loop may have caught them all.
        assert await calls_of(client, "evalsha") - before <= 3


async def test_checks_that_arrive_during_a_call_go_in_the_next_one() -> None:
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        client_of(server) as client,
        redis_store(f"redis://127.0.0.1:{proxy.port}") as store,
    ):
        await store.take([demand()])
        before = await calls_of(client, "evalsha")
        proxy.delay = 0.05
        first = asyncio.ensure_future(store.take([demand("first")]))
        await until(lambda: not store._coalescer._waiting)
        rest = [asyncio.ensure_future(store.take([demand(f"u{user}")])) for user in range(50)]
        await asyncio.gather(first, *rest)
        assert await calls_of(client, "evalsha") - before == 2


@on_redis_and_valkey
async def test_a_call_fails_at_the_deadline() -> None:
    async with redis_server() as server, redis_store(server.url, deadline=0.05) as store:
        await store.take([demand()])
        server.pause()
        for _ in range(3):
            start = time.perf_counter()
            async with at_most(0.3):
                with pytest.raises(StoreUnavailableError, match="did not answer within 50 ms"):
                    await store.take([demand()])
            assert time.perf_counter() - start >= 0.045
        server.resume()


@on_redis_and_valkey
async def test_a_call_that_hangs_does_not_hold_up_the_next_one() -> None:
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        redis_store(proxy.url, deadline=0.5) as store,
    ):
        await store.take([demand()])
        proxy.is_hung = True
        with pytest.raises(StoreUnavailableError):
            await store.take([demand()])
        proxy.is_hung = False
        assert (await store.take([demand("b")])).allowed


@on_redis_and_valkey
async def test_a_script_redis_does_not_know_is_sent_once() -> None:
    async with redis_server() as server, redis_store(server.url) as store, client_of(server) as client:
        assert (await store.take([demand(burst=3)])).owed == (0,)
        await client.script_flush()
        assert (await store.take([demand(burst=3, cost=2)])).allowed
        assert not (await store.take([demand(burst=3)])).allowed
        assert await calls_of(client, "eval") == 2


@on_redis_and_valkey
async def test_after_a_restart_the_script_is_sent_again() -> None:
    async with redis_server() as server, redis_store(server.url) as store:
        await store.take([demand()])
        await server.restart()
        assert (await store.take([demand()])).owed == (0,)


def closed(connection: RedisConnection) -> bool:
    return not connection.is_open


@on_redis_and_valkey
async def test_an_idle_connection_that_redis_closed_fails_no_call() -> None:
    async with redis_server() as server, redis_store(server.url) as store, client_of(server) as client:
        for _ in range(5):
            await store.take([demand()])
            (connection,) = pooled_client_of(store)._idle
            await client.client_kill_filter(_type="normal", skipme=True)
            await until(partial(closed, connection))
        assert (await store.take([demand(cost=0)])).allowed


@on_redis_and_valkey
async def test_a_call_whose_reply_is_lost_is_never_repeated() -> None:
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        client_of(server) as client,
        redis_store(f"redis://127.0.0.1:{proxy.port}") as store,
    ):
        await store.take([demand()])
        before = await calls_of(client, "evalsha")
        proxy.reset_after = 0
        with pytest.raises(StoreUnavailableError):
            await store.take([demand()])
        assert await calls_of(client, "evalsha") - before == 1
        assert (await store.take([demand()])).allowed


@pytest.mark.parametrize("length", range(0, 31, 3))
@on_redis_and_valkey
async def test_a_reset_in_the_middle_of_a_reply_makes_the_call_fail(length: int) -> None:
    async with redis_server() as server, fault_proxy(server.port) as proxy, redis_store(proxy.url) as store:
        await store.take([demand("warm")])
        proxy.reset_after = length
        pair = [store.take([demand("a", cost=2)]), store.take([demand("b", cost=3)])]
        answers = await asyncio.gather(*pair, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailableError) for answer in answers), answers
        # Everybody reads his own answer afterwards.
        looks = await asyncio.gather(store.take([demand("a", cost=0)]), store.take([demand("c", cost=0)]))
        assert looks[0].owed[0] > 0
        assert looks[1].owed == (0,)


async def test_a_client_that_disconnects_gets_nobody_elses_reply() -> None:
    async with redis_server() as server, redis_store(server.url) as store:
        await asyncio.gather(*(store.take([demand(f"u{cost}", cost=cost)]) for cost in range(1, 9)))
        for turn in range(40):
            looks = [asyncio.ensure_future(store.take([demand(f"u{cost}", cost=0)])) for cost in range(1, 9)]
            for _ in range(turn % 8):
                await asyncio.sleep(0)
            gone = {turn % 8, (turn * 3) % 8}
            for place in gone:
                looks[place].cancel()
            for cost, look in enumerate(looks, 1):
                if cost - 1 not in gone:
                    hours = (await look).owed[0] / 3_600_000_000
                    assert cost - 0.1 < hours <= cost
        for look in looks:
            await asyncio.gather(look, return_exceptions=True)


async def test_a_check_whose_client_disconnected_before_it_was_sent_is_not_charged() -> None:
    async with redis_server() as server, fault_proxy(server.port) as proxy, redis_store(proxy.url) as store:
        await store.take([demand("warm")])
        proxy.delay = 0.05
        first = asyncio.ensure_future(store.take([demand("first")]))
        await until(lambda: not store._coalescer._waiting)
        second = asyncio.ensure_future(store.take([demand("second")]))
        second.cancel()
        await first
        assert (await store.take([demand("second", cost=0)])).owed == (0,)


@pytest.mark.parametrize("version", every_server())
async def test_a_full_redis_is_unavailable(version: str) -> None:
    async with (
        redis_server("--maxmemory-policy", "noeviction", version=version) as server,
        redis_store(server.url) as store,
        client_of(server) as client,
    ):
        # What it takes for itself is another number for each version.
        empty: int = (await client.info("memory"))["used_memory"]
        for block in range(20):
            await client.set(f"block{block}", b"x" * 100_000)
        await client.config_set("maxmemory", empty + 1_000_000)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await client.set("one more", b"x")
        with pytest.raises(StoreUnavailableError, match=r"OOM|OutOfMemory"):
            await store.take([demand()])
        await client.flushall()
        assert (await store.take([demand()])).allowed


@on_redis_and_valkey
async def test_a_read_only_redis_is_unavailable_and_the_connection_is_replaced() -> None:
    async with redis_server() as server, redis_store(server.url) as store, client_of(server) as client:
        await store.take([demand()])
        await client.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreUnavailableError, match="READONLY"):
            await store.take([demand()])
        await client.replicaof("NO", "ONE")
        assert (await store.take([demand()])).allowed


@on_redis_and_valkey
async def test_a_loading_redis_is_unavailable_until_it_has_loaded() -> None:
    options = ("--save", "3600", "1", "--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024")
    async with redis_server(*options) as server, redis_store(server.url) as store:
        async with client_of(server) as client:
            pipeline = client.pipeline(transaction=False)
            for key in range(10_000):
                pipeline.set(f"key{key}", b"x" * 100)
            await pipeline.execute()
        server.stop()
        server.spawn()

        async def is_loading() -> bool:
            try:
                await store.take([demand()])
            except StoreUnavailableError as why:
                return "LOADING" in str(why)
            return False

        await eventually(is_loading)
        await asyncio.to_thread(server.wait_ready)
        assert (await store.take([demand()])).allowed


@on_redis_and_valkey
async def test_a_redis_that_rejects_the_password_is_unavailable_and_the_reason_says_so() -> None:
    async with (
        redis_server("--requirepass", "right") as server,
        redis_store(f"redis://:wrong@127.0.0.1:{server.port}") as store,
    ):
        with pytest.raises(StoreUnavailableError, match=r"Authentication|WRONGPASS") as failure:
            await store.take([demand()])
        assert "wrong@" not in str(failure.value)


@on_redis_and_valkey
async def test_a_redis_that_denies_permission_is_unavailable() -> None:
    acl = ("--user", "gateway", "on", ">pw", "~gateway:*", "+@all", "-@scripting")
    async with redis_server(*acl) as server, redis_store(f"redis://gateway:pw@127.0.0.1:{server.port}") as store:
        with pytest.raises(StoreUnavailableError, match=r"NOPERM|NoPermission|no permission"):
            await store.take([demand()])


async def test_a_reply_in_another_form_than_the_scripts_is_a_failure() -> None:
    async with redis_server() as server, redis_store(server.url) as store:
        client = store._client
        other = TAKE._replace(text="return {1, 'two'}", sha="0" * 40)
        (answer,) = await client.run([Call(other, [b"a"], [], 1)])
        assert isinstance(answer, StoreUnavailableError)
        short = TAKE._replace(text="return {1}", sha="1" * 40)
        for numbers, kind in ((1, list), (2, StoreUnavailableError)):
            (answer,) = await client.run([Call(short, [b"a"], [], numbers)])
            assert isinstance(answer, kind)


@pytest.mark.parametrize("version", every_server())
async def test_a_master_that_became_a_replica_is_connected_to_anew(version: str) -> None:
    """By then its name may point to the new master."""
    async with redis_server(version=version) as server, redis_store(server.url) as store, client_of(server) as client:
        await store.take([demand()])
        (connection,) = pooled_client_of(store)._idle
        await client.replicaof("127.0.0.1", 1)
        with pytest.raises(StoreUnavailableError, match="READONLY"):
            await store.take([demand()])
        assert closed(connection)


def failures() -> Iterator[Exception]:
    for _, kind in inspect.getmembers(redis.exceptions, inspect.isclass):
        if issubclass(kind, Exception):
            try:
                yield kind("said so")
            except (TypeError, ValueError, IndexError):
                yield kind("1 127.0.0.1:1")
    yield from (OSError(5, "I/O"), TimeoutError(), RuntimeError("closed"), AttributeError("no writer"), EOFError())


class _FailingPool:
    """A pool that fails in every way that the library knows of."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def make_connection(self) -> None:
        raise self._error


@pytest.mark.parametrize("error", list(failures()), ids=lambda error: type(error).__name__)
async def test_every_failure_makes_redis_unavailable(error: Exception) -> None:
    pool: Any = _FailingPool(error)
    store = RedisStore(PooledClient(pool, 0.5), StoreClock(), prefix="gateway", deadline=5.0)
    with pytest.raises(StoreUnavailableError) as raised:
        await store.take([demand()])
    assert type(error).__name__ in str(raised.value)
    with pytest.raises(StoreUnavailableError):
        await store.reset([b"a"])
    assert unavailable(error).__cause__ is error
