"""WebSockets pass, spoken by libraries nobody here wrote."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from gateway.proxy import tunnel as tunnel_module
from gateway.proxy.connection_state import HALF_CLOSED
from tests.proxy.running import proxy
from tests.waiting import DEADLINE, until
from tests.wire import OK, Client, Conversation, get, upstream

HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Mine: 1\r\n\r\n"


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    async def echo(request: web.BaseRequest) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["chat"])
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data[::-1])
            else:
                await socket.send_bytes(message.data)
        return socket

    runner = web.ServerRunner(web.Server(echo))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_websocket_conversation_passes_both_ways() -> None:
    async with (
        echo_server() as port,
        proxy(port) as running,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{running.port}/chat", protocols=["chat"]) as socket,
    ):
        assert socket.protocol == "chat"
        await socket.send_str("hello")
        assert await socket.receive_str(timeout=DEADLINE) == "olleh"
        blob = bytes(range(256)) * 4000
        await socket.send_bytes(blob)
        assert await socket.receive_bytes(timeout=DEADLINE) == blob
        assert await socket.close(code=4001, message=b"bye")


async def test_what_the_upstream_sends_right_behind_the_switch_comes_first() -> None:
    async def script(talk: Conversation) -> None:
        request = await talk.request()
        assert (request.one(b"connection"), request.one(b"upgrade")) == (b"upgrade", b"websocket")
        await talk.send(SWITCHED + b"first")
        assert await talk.reader.readexactly(4) == b"ping"
        await talk.send(b"second")

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        answer = await client.ask(get("/", *HANDSHAKE))
        assert answer.status == 101
        assert answer.fields == [(b"X-Mine", b"1"), (b"Connection", b"upgrade"), (b"Upgrade", b"websocket")]
        async with asyncio.timeout(DEADLINE):
            assert await client.reader.readexactly(5) == b"first"
        await client.send(b"ping")
        assert await client.closed() == b"second"


async def test_bytes_sent_before_the_switch_is_answered_are_not_lost() -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(SWITCHED)
        await talk.send(await talk.reader.readexactly(5))

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        assert (await client.ask(get("/", *HANDSHAKE) + b"early")).status == 101
        assert await client.closed() == b"early"


async def test_nor_when_the_client_has_closed_its_half_behind_them() -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await closed.wait()
        await talk.send(SWITCHED)
        await talk.send(await talk.reader.read())

    closed = asyncio.Event()
    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(get("/", *HANDSHAKE) + b"early")
        client.writer.write_eof()
        await until(lambda: any(c.state is HALF_CLOSED for c in running.server.connections))
        closed.set()
        assert (await client.answer()).status == 101
        assert await client.closed() == b"early"


async def test_a_client_that_leaves_takes_the_upstream_with_it() -> None:
    left = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(SWITCHED)
        try:
            await talk.reader.read()
        finally:
            left.set()

    async with upstream(script) as up, proxy(up.port) as running:
        async with Client.connect(running.port) as client:
            assert (await client.ask(get("/", *HANDSHAKE))).status == 101
        async with asyncio.timeout(DEADLINE):
            await left.wait()


async def test_what_a_client_sent_before_a_write_to_it_failed_reaches_the_upstream() -> None:
    """A failed write closes the transport at once, before the loop has read what is in the socket."""
    last = b"last" * 5_000  # a reset discards what the system has not sent yet
    got = asyncio.get_running_loop().create_future()

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(SWITCHED + b"not read by the client")
        got.set_result(await talk.reader.read())

    async with upstream(script) as up, proxy(up.port) as running:
        loop = asyncio.get_running_loop()
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.setblocking(False)
            client.sendall(get("/", *HANDSHAKE))
            await loop.sock_recv(client, 12)
            await until(lambda: select.select([client], [], [], 0)[0])
            (connection,) = running.server.connections
            await until(lambda: connection.client.on_eof)
            client.sendall(last)  # from here to the write the loop does not run
        connection.client.write(b"nobody reads this")
        connection.client.coalescer.flush()
        async with asyncio.timeout(DEADLINE):
            assert await got == last


async def test_when_an_upstream_declines_nothing_behind_the_request_is_read_as_another() -> None:
    async with upstream() as up, proxy(up.port) as running, Client.connect(running.port) as client:
        answer = await client.ask(get("/", *HANDSHAKE) + get("/smuggled"))
        assert (answer.status, answer.one(b"connection")) == (200, b"close")
        assert await client.closed() == b""
    assert len(up.requests) == 1


async def test_when_the_client_has_closed_its_half_a_silent_upstream_is_held_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tunnel_module, "HALF_CLOSE_TIMEOUT", 0.2)
    heard, left = asyncio.Event(), asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(SWITCHED)
        assert await talk.reader.read() == b""
        heard.set()
        await left.wait()

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        assert (await client.ask(get("/", *HANDSHAKE))).status == 101
        client.writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            await heard.wait()
        assert await client.closed() == b""
        left.set()


async def test_a_tunnel_without_a_byte_is_closed_after_a_while() -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(SWITCHED)
        await talk.reader.read()

    async with (
        upstream(script) as up,
        proxy(up.port, tunnel_timeout=0.2) as running,
        Client.connect(running.port) as client,
    ):
        assert (await client.ask(get("/", *HANDSHAKE))).status == 101
        assert await client.closed() == b""


async def test_a_slow_reader_in_a_tunnel_holds_the_sender_back_both_ways() -> None:
    size = 4_000_000

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(SWITCHED)
        await talk.send(b"d" * size)
        await talk.reader.readexactly(size)
        await talk.send(b"done")

    async with (
        upstream(script) as up,
        proxy(up.port) as running,
        Client.connect(running.port, limit=1024) as client,
    ):
        await client.send(get("/", *HANDSHAKE))
        async with asyncio.timeout(DEADLINE):
            await client.reader.readuntil(b"\r\n\r\n")
            client.writer.write(b"u" * size)
            assert await client.reader.readexactly(size) == b"d" * size
            await client.writer.drain()
            assert await client.reader.readexactly(4) == b"done"


@pytest.mark.parametrize(
    "fields",
    [
        ("Upgrade: websocket",),
        ("Connection: Upgrade", "Upgrade: h2c"),
        ("Connection: upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ],
)
async def test_no_other_protocol_is_offered_to_the_upstream(fields: tuple[str, ...]) -> None:
    async def script(talk: Conversation) -> None:
        request = await talk.request()
        assert request.all(b"upgrade") == []
        assert request.all(b"http2-settings") == []
        await talk.send(OK)

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        assert (await client.ask(get("/", *fields))).status == 200
