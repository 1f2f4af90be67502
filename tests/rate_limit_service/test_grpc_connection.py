"""gRPC on a connection of HTTP/2: what a client may do, and how it ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from h2.settings import SettingCodes
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.acceptor import accept
from gateway.rate_limit_service.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    encode_frame,
)
from gateway.rate_limit_service.messages import METHOD
from gateway.rate_limit_service.server import GrpcServer
from gateway.rate_limit_service.service import RateLimitService
from gateway.settings.door import RateLimit
from tests.http2 import Http2Client
from tests.proxy.running import Seen
from tests.waiting import DEADLINE, until
from tests.wire import Client

Answer = Callable[[bytes], Awaitable[bytes]]


class Scripted(RateLimitService):
    """Answers as a test says."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def should_rate_limit(self, message: bytes) -> bytes:
        return await self._answer(message)


async def echo(message: bytes) -> bytes:
    return message


@asynccontextmanager
async def serving(answer: Answer = echo, most: int = 10) -> AsyncIterator[tuple[GrpcServer, int, Seen]]:
    seen = Seen()
    server = GrpcServer(RateLimit((ip_network("127.0.0.0/8"),)), Scripted(answer), seen, most)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        acceptor = accept(server, listening, 10)
        try:
            yield server, listening.getsockname()[1], seen
        finally:
            acceptor.close()
            await server.drain(0.0)


async def test_a_call_that_fails_is_reported_and_the_next_one_goes_on() -> None:
    async def fail(message: bytes) -> bytes:
        if message == b"bad":
            raise RuntimeError("broken")
        return message

    async with serving(fail) as (_, port, seen), Http2Client.connect(port) as client:
        failed = await client.call(METHOD, b"bad")
        assert (failed.status, failed.headers["grpc-status"]) == (200, "13")
        assert "broken" not in failed.headers["grpc-message"]
        assert (await client.call(METHOD, b"good")).body[5:] == b"good"
        assert [str(error) for _, error in seen.failures] == ["broken"]


async def test_a_response_waits_until_the_client_takes_so_much() -> None:
    async with serving() as (_, port, _seen), Http2Client.connect(port) as client:
        client.http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5})
        stream = client.start("POST", METHOD, [("content-type", "application/grpc")], b"\0\0\0\0\4echo")
        assert (await client.call(METHOD)).ended  # five bytes
        client.http2.increment_flow_control_window(100, stream)
        client.flush()
        assert (await client.reply(stream)).body[5:] == b"echo"


async def test_a_call_that_the_client_gives_up_costs_nobody_the_connection() -> None:
    go_on = asyncio.Event()

    async def wait(message: bytes) -> bytes:
        if message == b"slow":
            await go_on.wait()
        return message

    async with serving(wait) as (_, port, _seen), Http2Client.connect(port) as client:
        stream = client.start("POST", METHOD, [("content-type", "application/grpc")], b"\0\0\0\0\4slow")
        client.http2.reset_stream(stream)
        client.flush()
        assert (await client.call(METHOD, b"next")).body[5:] == b"next"
        go_on.set()
        assert (await client.call(METHOD, b"last")).body[5:] == b"last"


async def test_a_server_that_stops_lets_calls_end_and_has_clients_make_no_more() -> None:
    go_on = asyncio.Event()

    async def wait(message: bytes) -> bytes:
        await go_on.wait()
        return message

    async with serving(wait) as (server, port, _seen), Http2Client.connect(port) as client:
        stream = client.start("POST", METHOD, [("content-type", "application/grpc")], b"\0\0\0\0\4slow")
        await until(lambda: server.held == 1)
        draining = asyncio.create_task(server.drain(5.0))
        await client.goes_away()
        go_on.set()
        assert (await client.reply(stream)).body[5:] == b"slow"
        assert await draining == 0


async def test_calls_that_do_not_end_are_cut_off_when_the_time_is_over() -> None:
    async def never(_message: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with serving(never) as (server, port, _seen), Http2Client.connect(port) as client:
        client.start("POST", METHOD, [("content-type", "application/grpc")], b"\0\0\0\0\0")
        await until(lambda: server.held == 1)
        assert await server.drain(0.1) == 1
        await until(lambda: server.held == 0)


async def test_no_more_connections_than_allowed() -> None:
    async with serving(most=1) as (_, port, seen), Http2Client.connect(port) as client:
        await client.call(METHOD)
        async with Client.connect(port) as other:
            assert await other.closed() == b""
        assert seen.causes == ["too_many"]


HEADS = Encoder().encode([(":method", "POST"), (":path", METHOD), (":scheme", "http")])
CALL = encode_frame(HEADERS, END_HEADERS, 1, HEADS) + encode_frame(DATA, END_STREAM, 1, b"\0\0\0\0\4echo")


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"x" * 9, 0x6),  # a frame that is too large
        (encode_frame(SETTINGS, 0, 0, b"12345"), 0x6),
        (encode_frame(SETTINGS, 0, 1), 0x1),
        (encode_frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), 0x3),
        (encode_frame(PING, 0, 0, b"1234567"), 0x6),
        (encode_frame(PING, 0, 1, b"12345678"), 0x1),
        (encode_frame(WINDOW_UPDATE, 0, 0, bytes(4)), 0x1),
        (encode_frame(WINDOW_UPDATE, 0, 0, b"123"), 0x6),
        (encode_frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), 0x3),
        (encode_frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), 0x1),  # of a stream that is idle
        (encode_frame(RST_STREAM, 0, 1, bytes(4)), 0x1),
        (encode_frame(DATA, END_STREAM, 1, b"x"), 0x1),
        (encode_frame(PUSH_PROMISE, END_HEADERS, 1), 0x1),
        (encode_frame(CONTINUATION, END_HEADERS, 1, HEADS), 0x1),
        (encode_frame(HEADERS, END_HEADERS, 2, HEADS), 0x1),
        (encode_frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff"), 0x9),
        (encode_frame(HEADERS, END_HEADERS | PADDED, 1, b"\x09" + HEADS[:2]), 0x1),
        (encode_frame(HEADERS, 0, 1, HEADS) + encode_frame(PING, 0, 0, bytes(8)), 0x1),
        (encode_frame(HEADERS, 0, 1, HEADS) + encode_frame(CONTINUATION, 0, 1, bytes(16_384)) * 4, 0xB),
        (encode_frame(HEADERS, END_HEADERS, 1, HEADS) * 2, 0x1),  # trailers that do not end the call
        (encode_frame(HEADERS, END_HEADERS, 3, HEADS) + encode_frame(HEADERS, END_HEADERS, 1, HEADS), 0x5),
        (CALL + encode_frame(DATA, END_STREAM, 1, b"x"), 0x5),
        (encode_frame(HEADERS, END_HEADERS, 1, Encoder().encode([("x", "y" * 15_000)]) * 5), 0x6),
    ],
)  # fmt: skip
async def test_a_client_that_breaks_the_protocol_is_told_so_and_ends(frames: bytes, code: int) -> None:
    async with serving() as (server, port, seen), Client.connect(port) as client:
        await client.send(PREFACE + encode_frame(SETTINGS, 0, 0) + frames)
        sent = await client.closed()
        assert sent[-8 - 9 + 3] == GOAWAY
        assert int.from_bytes(sent[-4:]) == code
        await until(lambda: server.held == 0)
        assert seen.failures == []


async def test_headers_in_pieces_with_padding_and_priority_and_unknown_frames_are_read() -> None:
    padded = encode_frame(HEADERS, PADDED | WITH_PRIORITY, 1, b"\3" + bytes(5) + HEADS[:4] + b"pad")
    rest = encode_frame(CONTINUATION, END_HEADERS, 1, HEADS[4:])
    message = encode_frame(DATA, PADDED, 1, b"\2\0\0\0\0\4echoxx") + encode_frame(77, 0, 0, b"?")
    trailers = encode_frame(HEADERS, END_HEADERS | END_STREAM, 1, Encoder().encode([("x", "y")]))
    whole = (
        PREFACE
        + encode_frame(SETTINGS, 0, 0)
        + padded
        + rest
        + message
        + encode_frame(PING, 0, 0, b"12345678")
        + trailers
    )
    async with serving() as (_, port, _seen), Client.connect(port) as client:
        for byte in whole:
            await client.send(bytes([byte]))
        expected = encode_frame(DATA, 0, 1, b"\0\0\0\0\4echo")
        got = b""
        async with asyncio.timeout(DEADLINE):
            while expected not in got:
                got += await client.reader.read(1000)
        assert encode_frame(PING, ACK, 0, b"12345678") in got


async def test_a_large_message_is_read_and_refused_without_being_kept() -> None:
    async with serving() as (_, port, _seen), Http2Client.connect(port) as client:
        stream = client.start("POST", METHOD, [("content-type", "application/grpc")], ends=False)
        for _ in range(8):
            client.http2.send_data(stream, bytes(16_000))
            client.flush()
            await client.until(lambda: client.http2.local_flow_control_window(stream) >= 16_000)
        client.http2.end_stream(stream)
        client.flush()
        assert (await client.reply(stream)).headers["grpc-status"] == "3"
        assert (await client.call(METHOD, b"next")).body[5:] == b"next"


async def test_calls_that_are_given_up_count_until_they_have_ended() -> None:
    """So a client that resets each of its calls at once has no more in flight than any other."""
    go_on = asyncio.Event()

    async def wait(message: bytes) -> bytes:
        await go_on.wait()
        return message

    async with serving(wait) as (_, port, _seen), Client.connect(port) as client:
        await client.send(PREFACE + encode_frame(SETTINGS, 0, 0))
        for number in range(1, 2 * 1002, 2):
            call = encode_frame(HEADERS, END_HEADERS | END_STREAM, number, HEADS)
            await client.send(call + encode_frame(RST_STREAM, 0, number, bytes(4)))
        refused = encode_frame(RST_STREAM, 0, 2001, b"\0\0\0\7")
        got = b""
        async with asyncio.timeout(DEADLINE):
            while refused not in got:
                got += await client.reader.read(1000)
        assert encode_frame(RST_STREAM, 0, 1999, b"\0\0\0\7") not in got
        go_on.set()


@given(
    st.lists(
        st.builds(encode_frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40))
    )
)
async def test_no_bytes_lead_to_anything_but_responses_and_an_end(frames: list[bytes]) -> None:
    async with serving() as (_, port, seen), Client.connect(port) as client:
        await client.send(PREFACE + CALL + b"".join(frames) + b"x" * 9)
        sent = await client.closed()
        assert sent[-8 - 9 + 3] == GOAWAY
        assert seen.failures == []


@settings(max_examples=20)
@given(st.data())
async def test_what_h2_sends_is_read_however_it_is_cut(data: st.DataObject) -> None:
    """Blocks of headers refer to the ones before, and some of them are remembered."""
    async with serving() as (_, port, _seen), Http2Client.connect(port) as client:
        for _ in range(data.draw(st.integers(1, 5))):
            headers = data.draw(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2" * 2000]))))
            message = data.draw(st.binary(max_size=100))
            assert (await client.call(METHOD, message, headers)).body[5:] == message


async def test_what_is_not_http2_ends_the_connection() -> None:
    async with serving() as (server, port, _seen), Client.connect(port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.closed()
        await until(lambda: server.held == 0)
