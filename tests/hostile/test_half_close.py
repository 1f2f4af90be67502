"""A client that closes its half of the connection: answered behind a whole request, given up in the middle of one."""

import asyncio
import ssl

import pytest
import trustme

from gateway.proxy import client_connection as client_module
from gateway.proxy.connection_state import HALF_CLOSED
from gateway.proxy.lingering_close import LINGER
from tests.hostile.responses import read_responses
from tests.hostile.test_leaving import settled
from tests.hostile.wire import converse
from tests.proxy.running import proxy
from tests.waiting import DEADLINE, at_most, until
from tests.wire import Client, Conversation, get, upstream

POST = b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (get(), [200]),
        (POST, [200]),
        (CHUNKED, [200]),
        (get() * 3, [200] * 3),
        (get() * 40, [200] * 40),
        (get() + b"BAD\r\n\r\n", [200, 400]),
        (b"BAD\r\n\r\n", [400]),
        (get() + get()[:20], [200]),
    ],
    ids=["get", "length", "chunked", "three", "forty", "bad behind", "bad", "half a head behind"],
)
async def test_behind_whole_requests_each_gets_its_response_and_then_the_close(raw: bytes, statuses: list[int]) -> None:
    async with upstream() as up, proxy(up.port) as running:
        async with at_most(LINGER):
            heard = await converse(running.port, [raw], half_close=True)
        answers = read_responses(heard.raw, [])
        assert [answer.status for answer in answers] == statuses
        assert [answer.says_close for answer in answers] == [False] * (len(statuses) - 1) + [True]
        await settled(running)
    assert len(up.requests) == statuses.count(200)


async def test_a_response_that_begins_later_arrives_whole() -> None:
    """The half is closed while the upstream works; what comes then is more than sockets hold."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        asked.set()
        await go.wait()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000)

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(get())
        await asked.wait()
        client.writer.write_eof()
        (connection,) = running.server.connections
        await until(lambda: connection.state is HALF_CLOSED)
        go.set()
        answer = await client.answer()
        assert (answer.status, len(answer.body)) == (200, 8_000_000)
        assert answer.one(b"connection") == b"close"
        assert await client.closed() == b""
        await settled(running)


@pytest.mark.parametrize("raw", [b"", get()[:-2], POST[:-1], CHUNKED[:-2], CHUNKED[:-7], get() + POST[:-1]])
async def test_in_the_middle_of_a_request_it_ends_the_connection(raw: bytes) -> None:
    async with upstream() as up, proxy(up.port) as running, at_most(LINGER):
        await converse(running.port, [raw], half_close=True)
        await settled(running)
    assert all(message.start.startswith(b"GET") for message in up.requests)


async def test_one_that_is_gone_holds_the_upstream_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "HALF_CLOSE_TIMEOUT", 0.2)
    left = asyncio.Event()

    async def silent(talk: Conversation) -> None:
        await talk.request()
        await talk.reader.read()
        left.set()

    async with upstream(silent) as up, proxy(up.port) as running:
        assert (await converse(running.port, [get()], half_close=True)).raw == b""
        async with asyncio.timeout(DEADLINE):
            await left.wait()
        await settled(running)


async def test_one_that_is_gone_is_noticed_when_the_response_goes_on() -> None:
    async def endless(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await talk.send(b"x" * 1_000)
            await asyncio.sleep(0.01)

    async with upstream(endless) as up, proxy(up.port) as running:
        async with Client.connect(running.port) as client:
            await client.send(get())
            await client.reader.readuntil(b"\r\n\r\n")
        await settled(running)


async def test_under_tls_too_the_upstream_is_held_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A close_notify closes one direction, as FIN does; tests/proxy/test_tls_ends.py has those that wait."""
    monkeypatch.setattr(client_module, "HALF_CLOSE_TIMEOUT", 0.2)
    authority = trustme.CA()
    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trusting)
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(talk: Conversation) -> None:
        await talk.request()
        asked.set()
        await talk.reader.read()
        left.set()

    async with upstream(silent) as up, proxy(up.port, ssl=serving) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=trusting)
        writer.write(get())
        async with asyncio.timeout(DEADLINE):
            await asked.wait()
            writer.close()
            await left.wait()
            assert await reader.read() == b""
        await settled(running)
