"""What goes through the proxy arrives as it was sent, and what goes wrong upstream ends in one plain answer."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest

from gateway.settings.intake import Intake
from tests.proxy.running import proxy
from tests.waiting import DEADLINE, until
from tests.wire import OK, Client, Conversation, ask, get, says, upstream


async def test_a_response_arrives_as_the_upstream_sent_it() -> None:
    raw = b"HTTP/1.1 203 Fine By Me\r\nX-One: 1\r\nx-one: 2\r\nSet-Cookie: a=b; c\r\nContent-Length: 5\r\n\r\nhello"
    async with upstream(says(raw)) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        answer = await client.ask(get())
    assert answer.start == b"HTTP/1.1 203 Fine By Me"
    assert answer.fields == [
        (b"X-One", b"1"),
        (b"x-one", b"2"),
        (b"Set-Cookie", b"a=b; c"),
        (b"Content-Length", b"5"),
    ]
    assert answer.body == b"hello"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "SEARCH", "REPORT"])
async def test_any_method_passes(method: str) -> None:
    async with upstream() as up, proxy(up.port) as running:
        assert (await ask(running.port, get("/x", method=method))).status == 200
    assert up.requests[0].start == f"{method} /x HTTP/1.1".encode()


@pytest.mark.parametrize(
    "target",
    ["/", "/a%20b?c=%2F%2f&d=e+f&&=", "/a?", "/a//b", "/a/?x=/../y", "/%7Euser/~user", "/a;v=1/b", "/x?q=%zz"],
)
async def test_the_bytes_of_path_and_query_are_untouched(target: str) -> None:
    async with upstream() as up, proxy(up.port) as running:
        assert (await ask(running.port, get(target))).status == 200
    assert up.requests[0].start == f"GET {target} HTTP/1.1".encode()


async def test_an_absolute_target_goes_upstream_as_a_path_and_its_host_counts() -> None:
    async with upstream() as up, proxy(up.port) as running:
        answer = await ask(running.port, b"GET http://Other.test:81/a?b HTTP/1.1\r\nHost: gw.test\r\n\r\n")
    assert answer.status == 200
    assert up.requests[0].start == b"GET /a?b HTTP/1.1"
    assert up.requests[0].one(b"host") == b"Other.test:81"


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_goes_upstream_in_the_framing_it_came_in(framing: str) -> None:
    async with upstream() as up, proxy(up.port) as running, Client.connect(running.port) as client:
        if framing == "length":
            sent = b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 11\r\n\r\nhello world"
        else:
            sent = (
                b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: 1\r\n\r\n"
            )
        assert (await client.ask(sent)).status == 200
        assert (await client.ask(get("/again"))).status == 200
    first, second = up.requests
    assert first.body == b"hello world"
    assert first.all(b"content-length") == ([b"11"] if framing == "length" else [])
    assert first.all(b"transfer-encoding") == ([] if framing == "length" else [b"chunked"])
    assert second.start == b"GET /again HTTP/1.1"


async def test_a_compressed_body_is_not_touched_either_way() -> None:
    packed = b"\x1f\x8b\x08\x00not really gzip"
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)
    async with upstream(says(raw)) as up, proxy(up.port) as running:
        head = f"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
        answer = await ask(running.port, head.encode() + packed)
    assert up.requests[0].body == packed
    assert answer.body == packed
    assert answer.one(b"content-encoding") == b"gzip"


async def test_a_chunked_response_arrives_chunked_with_its_pieces_as_they_come() -> None:
    seen = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await seen.wait()
        await talk.send(b"3\r\ntwo\r\n0\r\nTrailer: x\r\n\r\n")

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(get())
        async with asyncio.timeout(DEADLINE):
            assert (await client.reader.readuntil(b"one\r\n")).endswith(b"\r\n\r\n3\r\none\r\n")
            seen.set()
            assert await client.reader.readuntil(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"


async def test_server_sent_events_pass_at_once() -> None:
    received = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await received.wait()  # the second event is not sent before the first has arrived
        await talk.send(b"data: 2\n\n")

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(get())
        async with asyncio.timeout(DEADLINE):
            await client.reader.readuntil(b"data: 1\n\n")
            received.set()
            await client.reader.readuntil(b"data: 2\n\n")


async def test_a_response_that_ends_with_its_connection_is_whole() -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        answer = await client.ask(get())
        assert answer.body == b"all of it"
        assert answer.one(b"transfer-encoding") == b"chunked"
        assert (await client.ask(get())).status == 200


async def test_http_1_0_is_answered_without_chunks_and_closed() -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    async with upstream(says(raw)) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        answer = await client.ask(b"GET / HTTP/1.0\r\nHost: gw.test\r\nConnection: keep-alive\r\n\r\n")
        assert answer.all(b"transfer-encoding") == []
        assert answer.body == b"onetwo"


@pytest.mark.parametrize(
    ("method", "raw", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", [b"500"]),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", []),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: x\r\n\r\n", [b"500"]),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", []),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", []),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [b"0"]),
        ("HEAD", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", [b"5"]),
        ("HEAD", b"HTTP/1.1 404 Not Found\r\n\r\n", []),
        ("HEAD", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", []),
        ("HEAD", b"HTTP/1.1 204 No Content\r\n\r\n", []),
        ("HEAD", b"HTTP/1.1 205 Reset Content\r\n\r\n", []),
        ("HEAD", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", [b"500"]),
        ("HEAD", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", []),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", []),
        ("DELETE", b"HTTP/1.1 204 No Content\r\nContent-Length: 00\r\n\r\n", []),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n", []),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n", [b"0"]),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", []),
        ("GET", b"HTTP/1.0 304 Not Modified\r\nConnection: keep-alive\r\n\r\n", []),
        ("GET", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", [b"0"]),
    ],
)
async def test_responses_without_a_body_leave_both_connections_usable(
    method: str, raw: bytes, length: list[bytes]
) -> None:
    async with upstream(says(raw)) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        for _ in range(3):
            await client.send(get(method=method))
            answer = await client.answer(bodiless=True)
            if answer.status == 103:
                answer = await client.answer(bodiless=True)
            assert answer.all(b"content-length") == length
    assert up.connections == 1


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    ("method", "raw", "extra"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", b"hello"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OK),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nX: y\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", OK),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"hello"),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", OK),
        ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"hello"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
        ("GET", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", b"hello"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", b""),
        ("HEAD", b"HTTP/1.0 200 OK\r\n\r\n", b""),
        ("GET", b"HTTP/1.0 204 No Content\r\nContent-Length: 0\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n", b""),
    ],
)
async def test_what_follows_an_answer_without_a_body_is_never_the_next_answer(
    method: str, raw: bytes, extra: bytes, *, later: bool
) -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        if later:
            await talk.send(raw)
            await answered.wait()
            await talk.send(extra)
        else:
            await talk.send(raw + extra)
        assert await talk.reader.read() == b""
        closed.set()

    answered, closed = asyncio.Event(), asyncio.Event()
    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(get(method=method))
        first = await client.answer(bodiless=True)
        assert first.start.split(b" ", 1)[1] == raw.split(b"\r\n")[0].split(b" ", 1)[1]
        answered.set()
        async with asyncio.timeout(DEADLINE):
            await closed.wait()
        await client.send(get("/next", method=method))
        again = await client.answer(bodiless=True)
        assert again.start == first.start
    assert up.connections == 2


async def test_an_expected_100_continue_is_the_upstreams() -> None:
    async def script(talk: Conversation) -> None:
        head = await talk.reader.readuntil(b"\r\n\r\n")
        assert b"Expect: 100-continue" in head
        await talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await talk.reader.readexactly(4) == b"body"
        await talk.send(OK)

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert (await client.answer()).status == 100
        assert (await client.ask(b"body")).status == 200


async def test_early_hints_pass_before_the_response() -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n" + OK
    async with upstream(says(raw)) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        hints = await client.ask(get())
        assert (hints.status, hints.one(b"link")) == (103, b"</s.css>")
        assert (await client.answer()).status == 200


async def test_connections_to_the_upstream_are_kept_and_used_again() -> None:
    async with upstream() as up, proxy(up.port) as running:
        for _ in range(5):
            assert (await ask(running.port, get())).status == 200
    assert up.connections == 1


async def test_a_stale_connection_is_replaced_where_the_request_may_be_repeated() -> None:
    async def one_answer_then_close_unread(talk: Conversation) -> None:
        await talk.request()
        await talk.send(OK)
        if talk.number == 1:
            await talk.reader.readuntil(b"\r\n\r\n")  # takes a second request and leaves without a word

    async with upstream(one_answer_then_close_unread) as up, proxy(up.port) as running:
        assert (await ask(running.port, get())).status == 200
        assert (await ask(running.port, get("/again"))).status == 200
        assert up.connections == 2


async def test_a_request_that_may_have_happened_is_not_repeated() -> None:
    async def one_answer_then_close_unread(talk: Conversation) -> None:
        await talk.request()
        await talk.send(OK)
        await talk.reader.readuntil(b"\r\n\r\n")

    async with upstream(one_answer_then_close_unread) as up, proxy(up.port) as running:
        assert (await ask(running.port, get())).status == 200
        assert (await ask(running.port, get(method="POST"))).status == 502
        assert up.connections == 1


async def test_a_repeatable_request_is_repeated_once_only() -> None:
    async def only_the_first(talk: Conversation) -> None:
        await talk.request()
        if talk.number == 1:
            await talk.send(OK)
            await talk.request()

    async with upstream(only_the_first) as up, proxy(up.port) as running:
        assert (await ask(running.port, get())).status == 200
        assert (await ask(running.port, get("/again"))).status == 502
        assert [request.start for request in up.requests].count(b"GET /again HTTP/1.1") == 2


async def test_an_upstream_that_is_not_there_is_a_502(reserve: Callable[[], int]) -> None:
    async with proxy(reserve()) as running, Client.connect(running.port) as client:
        answer = await client.ask(get())
        assert (answer.status, answer.body) == (502, b"Bad Gateway\n")
        assert (await client.ask(get())).status == 502


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"X: y\r\n" * 255, 200),
        (b"X: y\r\n" * 256, 502),
        (b"X: " + b"y" * 60_000 + b"\r\n", 200),
        (b"X: " + b"y" * 70_000 + b"\r\n", 502),
        (b"X: %b\r\n" % (b"y" * 7_000) * 10, 502),
    ],
    ids=["many", "too many", "large", "too large", "too large together"],
)
async def test_a_response_with_too_many_or_too_large_headers_is_a_502(fields: bytes, status: int) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + b"\r\n"
    async with (
        upstream(says(raw)) as up,
        proxy(up.port) as running,
        Client.connect(running.port, limit=2**20) as client,
    ):
        for _ in range(2):
            assert (await client.ask(get())).status == status


async def test_why_an_address_cannot_be_reached_is_said_once_until_it_can(reserve: Callable[[], int]) -> None:
    port = reserve()
    async with proxy(port) as running:
        for _ in range(3):
            assert (await ask(running.port, get())).status == 502
        async with upstream(port=port):
            assert (await ask(running.port, get())).status == 200
        assert len(running.seen.unreachable) == 1
        for _ in range(3):
            assert (await ask(running.port, get())).status == 502
        first, again = running.seen.unreachable
        assert first.startswith(f"http://127.0.0.1:{port} cannot be reached: ")
        assert again == first


async def test_an_upstream_that_does_not_answer_in_time_is_a_504() -> None:
    async def silent(talk: Conversation) -> None:
        await talk.request()
        await talk.reader.read()

    async with upstream(silent) as up, proxy(up.port, head_timeout=0.2) as running:
        answer = await ask(running.port, get())
        assert (answer.status, answer.body) == (504, b"Gateway Timeout\n")


async def test_an_upstream_that_stops_in_the_middle_breaks_the_connection_off() -> None:
    async def half(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await talk.reader.read()

    async with (
        upstream(half) as up,
        proxy(up.port, idle_timeout=0.2) as running,
        Client.connect(running.port) as client,
    ):
        await client.send(get())
        assert (await client.closed()).endswith(b"\r\n\r\nhalf")


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
async def test_half_a_response_is_not_taken_for_a_whole_one(framing: bytes) -> None:
    async def half(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n4\r\nhalf")

    async with upstream(half) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(get())
        seen = await client.closed()
        assert b"half" in seen
        assert not seen.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40 + OK,
    ],
    ids=["nonsense", "two lengths", "bad length", "unasked switch", "long head", "many fields", "interim flood"],
)
async def test_a_broken_response_is_a_502_or_a_broken_connection_and_never_reaches_the_next_client(raw: bytes) -> None:
    async def script(talk: Conversation) -> None:
        request = await talk.request()
        await talk.send(raw if request.start.startswith(b"GET /broken ") else OK)
        await talk.reader.read()

    async with upstream(script) as up, proxy(up.port) as running:
        async with Client.connect(running.port) as client:
            await client.send(get("/broken", "Connection: close"))
            seen = await client.closed()
            assert b" 502 Bad Gateway" in seen or seen.count(b"HTTP/1.1 100") == 16
        assert (await ask(running.port, get("/fine"))).body == b"ok"


async def test_bytes_that_nobody_asked_for_never_reach_the_next_client() -> None:
    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")
        await talk.reader.read()

    async with upstream(script) as up, proxy(up.port) as running:
        for _ in range(3):
            assert (await ask(running.port, get())).body == b"ok"
    assert up.connections == 3


async def test_addresses_are_taken_in_turn_and_a_dead_one_is_left_out(reserve: Callable[[], int]) -> None:
    async with upstream() as one, upstream() as two, proxy(one.port, reserve(), two.port) as running:
        for _ in range(30):
            assert (await ask(running.port, get())).status == 200
    assert len(one.requests) + len(two.requests) == 30
    assert min(len(one.requests), len(two.requests)) >= 10


async def test_the_host_sent_upstream_is_the_clients_or_the_upstreams_own() -> None:
    async with upstream() as up:
        async with proxy(up.port) as running:
            await ask(running.port, get())
        async with proxy(up.port, send_host="upstream") as running:
            await ask(running.port, get())
    assert [request.one(b"host") for request in up.requests] == [b"localhost", b"127.0.0.1:%d" % up.port]


async def test_a_client_that_leaves_takes_its_upstream_connection_with_it() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        asked.set()
        assert await talk.reader.read() == b""
        left.set()

    async with upstream(script) as up, proxy(up.port) as running:
        async with Client.connect(running.port) as client:
            await client.send(get())
            async with asyncio.timeout(DEADLINE):
                await asked.wait()
            # A reset. One that only closes might have closed its half, see tests/hostile/test_half_close.py.
            own = client.writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with asyncio.timeout(DEADLINE):
            await left.wait()


async def test_a_connection_whose_response_nobody_waits_for_any_more_is_not_used_again() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.request()
        asked.set()
        assert await talk.reader.read() == b""
        left.set()

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(get())
        async with asyncio.timeout(DEADLINE):
            await asked.wait()
            (connection,) = running.server.connections
            answering = connection._handling
            assert answering is not None
            answering.cancel()
            await left.wait()


async def test_a_slow_client_holds_the_upstream_back_and_loses_nothing() -> None:
    size = 8_000_000

    async def script(talk: Conversation) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await talk.send(b"x" * size)

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port, limit=1024) as client:
        await client.send(get())
        async with asyncio.timeout(DEADLINE):
            await client.reader.readuntil(b"\r\n\r\n")
            received = 0
            while received < size:
                received += len(await client.reader.read(65_536))
        assert received == size


async def test_a_slow_upstream_holds_the_client_back_and_loses_nothing() -> None:
    size = 8_000_000
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await go.wait()
        await talk.reader.readexactly(size)
        await talk.send(OK)

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        client.writer.write(b"PUT / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        await until(lambda: client.writer.transport.get_write_buffer_size() < size)
        go.set()
        assert (await client.answer()).status == 200


async def test_while_the_upstream_reads_nothing_no_more_is_read_of_the_client() -> None:
    """What waits to be written is all that is held of the body: a slow upload takes one piece of memory, not two."""
    size = 40_000_000  # more than the kernel holds
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await go.wait()
        await talk.reader.readexactly(size)
        await talk.send(OK)

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        client.writer.write(b"PUT / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        await until(lambda: any(each._requests._is_held for each in running.server.connections))
        (connection,) = running.server.connections
        exchange = connection._exchange
        assert exchange is not None
        read = -1
        while read != exchange.body.total_bytes:  # until nothing moves any more
            read = exchange.body.total_bytes
            await asyncio.sleep(0.1)
        assert exchange.body._size <= 65_536
        assert client.writer.transport.get_write_buffer_size() > 0
        go.set()
        assert (await client.answer()).status == 200


async def test_a_response_may_come_before_the_body_has_been_read() -> None:
    async def script(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
        assert (await client.answer()).status == 413


async def test_a_broken_body_is_a_400_and_the_upstream_sees_no_whole_request() -> None:
    begun, ended = asyncio.Event(), asyncio.Queue[bytes]()

    async def script(talk: Conversation) -> None:
        seen = await talk.reader.readuntil(b"hello")
        begun.set()
        with suppress(ConnectionError):
            while data := await talk.reader.read(1000):
                seen += data
        ended.put_nowait(seen)

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        async with asyncio.timeout(DEADLINE):
            await begun.wait()
        await client.send(b"zz\r\n")
        assert (await client.answer()).status == 400
        assert await client.closed() == b""
        async with asyncio.timeout(DEADLINE):
            assert not (await ended.get()).endswith(b"0\r\n\r\n")


async def test_a_body_that_stops_coming_is_a_408() -> None:
    async def script(talk: Conversation) -> None:
        await talk.reader.read()

    async with (
        upstream(script) as up,
        proxy(up.port, intake=Intake(body_timeout=0.2)) as running,
        Client.connect(running.port) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 10\r\n\r\nhalf")
        assert (await client.answer()).status == 408


async def test_requests_in_one_packet_are_answered_in_order() -> None:
    async def script(talk: Conversation) -> None:
        while True:
            path = (await talk.request()).start.split(b" ")[1]
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    async with upstream(script) as up, proxy(up.port) as running, Client.connect(running.port) as client:
        await client.send(b"".join(get(f"/{n}") for n in range(10)))
        assert [(await client.answer()).body for _ in range(10)] == [b"/%d" % n for n in range(10)]
