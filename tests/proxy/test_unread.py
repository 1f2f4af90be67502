"""What an upstream sent before a write to it failed is read, over TCP and over TLS."""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Literal

import pytest
import uvloop

from gateway.proxy.pool import Pool
from gateway.proxy.resolver import Resolver
from gateway.proxy.upstream_response import ForwardError, Framing, RawHeaders
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.dns import Dns
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin
from tests.proxy.keys import Keys
from tests.proxy.peers import close_notify
from tests.proxy.running import Seen
from tests.waiting import DEADLINE

BODY = b"too large" * 5_000
"""More than one TLS record, and less than a socket's buffer: a reset discards what is not sent yet."""

HEAD = b"HTTP/1.1 413 Content Too Large\r\n"
LENGTH = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
CLOSE = HEAD + b"\r\n" + BODY


class Recorder:
    """Keeps a response, and how it ended."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.complete: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def interim(self, status: int, reason: bytes, headers: RawHeaders) -> None: ...

    def head(self, status: int, _reason: bytes, _headers: RawHeaders, _framing: Framing, _length: bytes, /) -> None:
        self.status = status

    def piece(self, data: bytes) -> None:
        self.body += data

    def flush(self) -> None: ...

    def end(self) -> None:
        self.complete.set_result(True)

    def upgraded(self) -> None: ...

    def fail(self, _error: ForwardError, /) -> None:
        self.complete.set_result(False)


def close_unread(stream: socket.socket) -> None:
    """Close with the request unread, which resets the connection."""
    stream.close()


def close_notify_unread(stream: socket.socket) -> None:
    """End the response properly, then close with the request unread."""
    close_notify(stream)
    stream.close()


async def respond_before_a_write(
    response: bytes, leave: Callable[[socket.socket], None], keys: Keys, *, over_tls: bool, paused: bool
) -> Recorder:
    """Let an upstream respond and leave before the gateway writes, so that the write fails before anything is read."""
    loop = asyncio.get_running_loop()
    scheme: Literal["http", "https"] = "https" if over_tls else "http"

    def accept() -> socket.socket:
        accepted, _ = listening.accept()
        accepted.settimeout(DEADLINE)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a reset discards the last record
        return keys.server.wrap_socket(accepted, server_side=True) if over_tls else accepted

    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = Upstream("default", (Origin(scheme, "127.0.0.1", listening.getsockname()[1]),), ca=keys.authority)
        seen = Seen()
        resolver = Resolver(Dns(), loop, seen)
        pool = Pool(settings, loop, WriteCoalescer(loop), seen, resolver)
        accepting = asyncio.create_task(asyncio.to_thread(accept))
        connection = await pool.take()
        with await accepting as stream:
            recorder = Recorder()
            connection.start("POST", b"POST / HTTP/1.1\r\nHost: up\r\nContent-Length: 9000000\r\n\r\n", recorder)
            connection.write(b"x" * 40_000)  # more than the one record that unwrap() reads in close_notify
            connection.pause(paused)
            await asyncio.to_thread(select.select, [stream], [], [], DEADLINE)
            # From here to the write the loop does not run.
            stream.sendall(response)
            leave(stream)
            connection.write(b"x" * 65_536)
            async with asyncio.timeout(DEADLINE):
                await recorder.complete
        pool.give_back(connection)
        resolver.close()
    return recorder


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> asyncio.Runner:
    return asyncio.Runner(loop_factory=request.param)


@pytest.mark.parametrize("paused", [False, True], ids=["flowing", "paused"])
@pytest.mark.parametrize("leave", [close_unread, close_notify_unread])
@pytest.mark.parametrize("response", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
def test_a_response_with_a_length_or_chunks_is_read_although_a_write_fails(
    keys: Keys,
    runner: asyncio.Runner,
    *,
    over_tls: bool,
    response: bytes,
    leave: Callable[[socket.socket], None],
    paused: bool,
) -> None:
    with runner:
        got = runner.run(respond_before_a_write(response, leave, keys, over_tls=over_tls, paused=paused))
    assert (got.status, got.body, got.complete.result()) == (413, BODY, True)


@pytest.mark.parametrize("paused", [False, True], ids=["flowing", "paused"])
@pytest.mark.parametrize(
    ("leave", "over_tls", "complete"),
    [(close_notify_unread, True, True), (close_unread, True, False), (close_unread, False, False)],
    ids=["https with close_notify", "https without", "http"],
)
def test_a_response_that_ends_with_the_connection_is_complete_only_if_it_was_ended(
    keys: Keys,
    runner: asyncio.Runner,
    *,
    over_tls: bool,
    leave: Callable[[socket.socket], None],
    complete: bool,
    paused: bool,
) -> None:
    with runner:
        got = runner.run(respond_before_a_write(CLOSE, leave, keys, over_tls=over_tls, paused=paused))
    assert (got.status, got.body, got.complete.result()) == (413, BODY, complete)


@pytest.mark.parametrize("leave", [close_unread, close_notify_unread])
@pytest.mark.parametrize("response", [LENGTH[:-1], CHUNKED[:-1]], ids=["length", "chunked"])
@pytest.mark.parametrize("over_tls", [False, True], ids=["http", "https"])
def test_a_part_of_a_response_is_not_taken_for_all_of_it(
    keys: Keys,
    runner: asyncio.Runner,
    *,
    over_tls: bool,
    response: bytes,
    leave: Callable[[socket.socket], None],
) -> None:
    with runner:
        got = runner.run(respond_before_a_write(response, leave, keys, over_tls=over_tls, paused=False))
    assert (got.status, got.complete.result()) == (413, False)
