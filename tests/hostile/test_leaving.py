"""Clients that go at the worst moment, and bodies that nobody wants: nothing stays behind."""

import asyncio
import random
import socket
import struct

from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.proxy.lingering_close import LINGER
from tests.hostile.wire import OK
from tests.proxy.running import Running, proxy
from tests.waiting import DEADLINE, at_most, until
from tests.wire import Client, Conversation, ask, get, upstream

ONCE = Limit("once", ("user",), Quota(Rate(1, 86_400), 1))


async def settled(running: Running) -> None:
    """All connections have gone."""
    await until(lambda: not running.server.connections)


async def test_a_storm_of_clients_that_reset_leaves_nothing_behind_and_pays_once_each() -> None:
    dice = random.Random(11)
    body = b"x" * 500
    request = b"POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 500\r\n\r\n" + body
    plenty = Limit("plenty", ("user",), Quota(Rate(1, 86_400), 10_000))

    async def leave_early(port: int) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, request[: dice.randrange(len(request) + 1)])
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)

    tasks = len(asyncio.all_tasks())
    async with upstream() as up, proxy(up.port, limits=[plenty], max_connections=10_000) as running:
        for _ in range(20):
            await asyncio.gather(*(leave_early(running.port) for _ in range(50)))
        await settled(running)
        # A connection may be gone before its last request has come to its end.
        await until(lambda: len(running.seen.fates) >= len(running.seen.verdicts))
        assert len(running.seen.verdicts) == len(running.seen.fates) <= 1_000
        assert (await ask(running.port, get())).status == 200
    assert len(asyncio.all_tasks()) <= tasks


async def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    async with upstream() as up, proxy(up.port) as running:
        for _ in range(20):
            answers = await asyncio.gather(*(ask(running.port, get("/", "Connection: close")) for _ in range(50)))
            assert {answer.status for answer in answers} == {200}
        await settled(running)
        assert running.server._held == {}


async def test_a_refused_body_that_does_not_come_holds_its_connection_for_a_moment_only() -> None:
    async with upstream() as up, proxy(up.port, limits=[ONCE]) as running, Client.connect(running.port) as client:
        assert (await client.ask(get())).status == 200
        async with at_most(2 * LINGER + 1):
            await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 10000000\r\n\r\n")
            assert (await client.answer()).status == 429
            assert await client.closed() == b""
    assert len(up.requests) == 1


async def test_what_is_sent_behind_a_request_to_switch_is_not_piled_up() -> None:
    asked = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        asked.set()
        await talk.reader.read()

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(get("/", "Connection: upgrade", "Upgrade: websocket"))
        await asked.wait()
        client.writer.write(b"x" * 20_000_000)
        (connection,) = running.server.connections
        await until(lambda: connection._requests._queue_is_full)
        assert len(connection._requests._tail or b"") < 1_000_000


async def test_the_last_response_is_read_before_the_reset_that_unread_bytes_cause() -> None:
    async with upstream() as up, proxy(up.port) as running:
        for _ in range(50):
            async with Client.connect(running.port) as client:
                await client.send(b"BAD\r\n\r\n" + b"x" * 300_000)
                assert (await client.answer()).status == 400


async def test_requests_under_way_are_finished_and_new_ones_told_to_go_when_the_gateway_leaves() -> None:
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        while True:
            await talk.request()
            await go.wait()
            await talk.send(OK)

    async with upstream(script) as up, proxy(up.port) as running:
        waiting = [asyncio.create_task(ask(running.port, get())) for _ in range(50)]
        await until(lambda: len(up.requests) == 50)
        draining = asyncio.create_task(running.server.drain(DEADLINE))
        await asyncio.sleep(0)
        go.set()
        answers = await asyncio.gather(*waiting)
        assert {(answer.status, answer.one(b"connection")) for answer in answers} == {(200, b"close")}
        assert await draining == 0
