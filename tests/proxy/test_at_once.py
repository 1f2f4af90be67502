"""Requests at once: a request counts from the decision until it has ended, however it ends."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from gateway.limiter.memory import MemoryLimiter
from gateway.limits.at_once import AtOnce
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.redis.clock import StoreClock
from tests.proxy.running import Running, proxy
from tests.proxy.test_tunnel import echo_server
from tests.waiting import DEADLINE, until
from tests.wire import OK, Client, Conversation, Script, ask, get, says, upstream


@dataclass
class Counted:
    """A proxy under one limit of two requests at once that all share."""

    running: Running
    limiter: MemoryLimiter

    @property
    def in_use(self) -> int:
        return self.limiter.in_flight.by_limit["at-once"]

    async def status(self, path: str = "/", method: str = "GET") -> int:
        return (await ask(self.running.port, get(path, method=method))).status


@asynccontextmanager
async def counted(*ports: int, most: int = 2, **more: object) -> AsyncIterator[Counted]:
    limiter = MemoryLimiter(1000, StoreClock())
    limits = [Limit("at-once", (), Quota(AtOnce(), most))]
    async with proxy(*ports, limits=limits, limiter=limiter, **more) as running:  # type: ignore[arg-type]
        counting = Counted(running, limiter)
        yield counting
        await until(lambda: counting.in_use == 0)
        assert len(limiter.in_flight) == 0


def reset(client: Client) -> None:
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


class Gate:
    """An upstream that has begun to respond, and goes on when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def __call__(self, talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            self.asked.release()
            await self.go_on.wait()
            await talk.send(b"k")


async def test_the_next_one_is_refused_while_so_many_are_in_flight_and_passes_when_one_has_ended() -> None:
    gate = Gate()
    async with upstream(gate) as up, counted(up.port) as gateway:
        waiting = [asyncio.ensure_future(gateway.status()) for _ in range(2)]
        for _ in waiting:
            await asyncio.wait_for(gate.asked.acquire(), DEADLINE)
        assert gateway.in_use == 2
        assert await gateway.status() == 429
        gate.go_on.set()
        assert await asyncio.gather(*waiting) == [200, 200]
        await until(lambda: gateway.in_use == 0)
        assert await gateway.status() == 200


@pytest.mark.parametrize("stage", ["before the response", "in the response"])
async def test_a_client_that_leaves_makes_room(stage: str) -> None:
    asked = asyncio.Event()

    async def never_ends(talk: Conversation) -> None:
        await talk.request()
        if stage == "in the response":
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\no")
        asked.set()
        await asyncio.Event().wait()

    async with upstream(never_ends) as up, counted(up.port) as gateway:
        async with Client.connect(gateway.running.port) as client:
            await client.send(get())
            await asyncio.wait_for(asked.wait(), DEADLINE)
            assert gateway.in_use == 1
            reset(client)
        await until(lambda: gateway.in_use == 0)


async def breaks_off(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\no")


async def says_nothing(talk: Conversation) -> None:
    await talk.request()
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("script", "status"),
    [(says(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"), 500), (says(b"garbage\r\n\r\n"), 502), (says_nothing, 504)],
    ids=["500", "garbage", "timeout"],
)
async def test_an_upstream_that_fails_makes_room(script: Script, status: int) -> None:
    async with upstream(script) as up, counted(up.port, head_timeout=0.2) as gateway:
        for _ in range(4):
            assert await gateway.status(method="POST") == status
            await until(lambda: gateway.in_use == 0)


async def test_a_dead_upstream_and_one_that_breaks_off_make_room() -> None:
    async with upstream() as up:
        dead = up.port
    async with counted(dead) as gateway:
        assert [await gateway.status() for _ in range(4)] == [502] * 4
    async with upstream(breaks_off) as up, counted(up.port) as gateway:
        for _ in range(4):
            async with Client.connect(gateway.running.port) as client:
                await client.send(get())
                await client.closed()
            await until(lambda: gateway.in_use == 0)


async def test_a_websocket_counts_while_it_is_open() -> None:
    async with echo_server() as port, counted(port, most=1) as gateway, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{gateway.running.port}/chat"
        async with session.ws_connect(url) as chat:
            await chat.send_str("hello")
            assert await chat.receive_str(timeout=DEADLINE) == "olleh"
            assert gateway.in_use == 1
            assert await gateway.status() == 429
        await until(lambda: gateway.in_use == 0)
        async with session.ws_connect(url) as chat:
            await chat.send_str("again")
            assert await chat.receive_str(timeout=DEADLINE) == "niaga"


async def test_a_refused_request_and_one_that_is_too_large_hold_nothing() -> None:
    async with upstream() as up, counted(up.port, most=1) as gateway:
        body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"
        assert (await ask(gateway.running.port, body)).status == 413
        assert await gateway.status("/a%00b") == 400
        assert await gateway.status() == 200


async def test_what_is_in_flight_when_the_proxy_shuts_down_is_released() -> None:
    gate = Gate()
    limiter = MemoryLimiter(1000, StoreClock())
    limits = [Limit("at-once", (), Quota(AtOnce(), 2))]
    async with upstream(gate) as up:
        async with proxy(up.port, limits=limits, limiter=limiter) as running:
            waiting = asyncio.ensure_future(ask(running.port, get()))
            await asyncio.wait_for(gate.asked.acquire(), DEADLINE)
        assert len(limiter.in_flight) == 0
        await asyncio.gather(waiting, return_exceptions=True)


async def test_what_is_in_flight_keeps_its_place_through_a_reload_and_a_pipeline_holds_one_at_a_time() -> None:
    async with upstream() as up, counted(up.port, most=1) as gateway, Client.connect(gateway.running.port) as client:
        await client.send(get("/1") + get("/2") + get("/3"))
        assert [(await client.answer()).status for _ in range(3)] == [200] * 3
    assert OK.endswith(b"ok")
