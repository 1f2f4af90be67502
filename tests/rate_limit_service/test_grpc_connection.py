"""gRPC on a connection of HTTP/2: what a client may do, and how it ends."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network

from h2.settings import SettingCodes

from gateway.proxy.acceptor import accept
from gateway.rate_limit_service.messages import METHOD
from gateway.rate_limit_service.server import GrpcServer
from gateway.rate_limit_service.service import RateLimitService
from gateway.settings.door import RateLimit
from tests.http2 import Http2Client
from tests.proxy.running import Seen
from tests.waiting import until
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
        acceptor = await accept(server, listening, 10)
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


async def test_what_is_not_http2_ends_the_connection() -> None:
    async with serving() as (server, port, _seen), Client.connect(port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.closed()
        await until(lambda: server.held == 0)
