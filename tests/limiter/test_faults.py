"""Faults of Redis and of the network: whatever happens, the decision is in time, and says whether it is degraded."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.limiter.limiter import Limiter
from tests.redis.builders import Recorder, demand, limiter
from tests.redis.fault_proxy import fault_proxy
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, at_most, lag, until
from tests.wire import Conversation, upstream

REDIS_DEADLINE = 0.05
"""The deadline of a decision, as in the settings' default."""

SLACK = 0.25
"""Seconds that our own work may take, with coverage measured on a busy machine."""


async def ask_in_time(opened: Limiter, seconds: float) -> None:
    """Check over and over for so long; each decision is in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        async with at_most(REDIS_DEADLINE + SLACK):
            await opened.check([demand("b", rate="1000/s", burst=1000)])
        await asyncio.sleep(0.005)


@pytest.mark.usefixtures("redis_and_valkey")
async def test_a_slow_redis_decides_as_long_as_it_is_in_time() -> None:
    async with redis_server() as server, fault_proxy(server.port) as proxy, limiter(proxy.url) as opened:
        for proxy.delay in (0.03, 0.06):
            for _ in range(5):
                assert not (await opened.check([demand("b", rate="1000/s", burst=1000)])).degraded


@pytest.mark.usefixtures("redis_and_valkey")
async def test_a_redis_that_is_too_slow_delays_nobody_and_does_not_flap() -> None:
    observer = Recorder()
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        limiter(proxy.url, observer, deadline=REDIS_DEADLINE) as opened,
    ):
        await opened.check([demand("b", rate="1000/s", burst=1000)])
        proxy.delay = 0.2
        await ask_in_time(opened, 3.0)
        assert opened.is_degraded
        assert len(observer.lost) <= 2
        proxy.delay = 0.0
        await until(lambda: not opened.is_degraded)


@pytest.mark.usefixtures("redis_and_valkey")
async def test_a_single_late_reply_makes_one_degraded_decision() -> None:
    observer = Recorder()
    async with (
        redis_server() as server,
        fault_proxy(server.port) as proxy,
        limiter(proxy.url, observer, deadline=0.25) as opened,
    ):
        for _ in range(3):
            await opened.check([demand("b", rate="1000/s", burst=1000)])
            proxy.delay = 2.0
            async with at_most(0.25 + SLACK):
                assert (await opened.check([demand("b", rate="1000/s", burst=1000)])).degraded
            proxy.delay = 0.0
        assert observer.lost == []


HANGS = 1.0
"""Seconds that a resolver takes."""


@asynccontextmanager
async def nonsense(reply: bytes) -> AsyncIterator[str]:
    """A server that sends the same reply to every request."""
    async with upstream(partial(_send, reply)) as up:
        yield f"redis://127.0.0.1:{up.port}"


async def _send(reply: bytes, talk: Conversation) -> None:
    while await talk.reader.read(65_536):
        await talk.send(reply)


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots\r\n",
        b"-ERR max number of clients reached\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-NOSCRIPT No matching script.\r\n",
        b"-\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x00" * 100,
        b"$999999999\r\n",
        b"$99999999999999999999\r\n",
        b"$-5\r\n",
        b"*1000000\r\n",
        b"*-1\r\n",
        b"$-1\r\n",
        b":1\r\n:2\r\n:3\r\n",
        b"+OK\r\n" * 1000,
        b"*1\r\n" * 2000,
        b"*3\r\n$4\r\nnope\r\n$-1\r\n*0\r\n",
        b"*1\r\n:7\r\n",
    ],
    ids=lambda reply: repr(reply[:24]),
)
async def test_whatever_redis_replies_the_decision_is_in_time(reply: bytes) -> None:
    observer = Recorder()
    async with nonsense(reply) as url, limiter(url, observer, deadline=REDIS_DEADLINE) as opened:
        for _ in range(20):
            async with at_most(REDIS_DEADLINE + SLACK):
                verdict = await opened.check([demand()])
            assert verdict.degraded
        assert len(observer.lost) == 1, "one line for a change, not for a request"


async def test_a_redis_whose_name_does_not_resolve_is_unavailable() -> None:
    observer = Recorder()
    async with limiter("redis://redis.invalid:6379", observer, deadline=REDIS_DEADLINE) as opened:
        await ask_in_time(opened, 1.0)
        assert opened.is_degraded
        assert len(observer.lost) == 1


async def test_a_resolver_that_hangs_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked in a thread, and by few at a time: the pool of threads is not used up."""
    asking, most = 0, 0

    def hang(*_: Any, **__: Any) -> Any:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        time.sleep(HANGS)
        asking -= 1
        raise socket.gaierror("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    async with limiter("redis://redis.invalid:6379", deadline=REDIS_DEADLINE) as opened:
        async with lag() as held_up:
            await ask_in_time(opened, 2.5)
        assert held_up.worst < HANGS, "it is asked elsewhere"
        assert most <= 3
        async with asyncio.timeout(DEADLINE):
            assert await asyncio.to_thread(lambda: True), "a thread is free"


@pytest.mark.usefixtures("redis_and_valkey")
async def test_a_redis_that_comes_back_with_old_data_gives_at_most_one_burst_more() -> None:
    async with redis_server() as server, limiter(server.url) as opened:

        async def spend(times: int) -> int:
            return sum([(await opened.check([demand(burst=10)])).allowed for _ in range(times)])

        assert await spend(2) == 2
        async with Redis(port=server.port) as client:
            await client.save()
        assert await spend(20) == 8
        server.kill()
        meanwhile = await spend(20)
        await server.start()
        await until(lambda: not opened.is_degraded)
        assert 10 + meanwhile + await spend(40) <= 20
        verdict = await opened.check([demand(burst=10)])
        assert not verdict.degraded
        assert max(verdict.decision.owed) <= 10 * 3_600_000_000, "nobody is locked out for longer than a full bucket"
