"""Both ends, for bytes that no library would send: a client on a raw socket, an upstream that records all it gets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h11

from tests.waiting import DEADLINE
from tests.wire import serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
_LONG = 2_000
"""Of longer messages only both ends go byte by byte, and what is between them in 64 pieces."""


def in_bytes(data: bytes) -> list[bytes]:
    """One byte a piece."""
    if len(data) <= _LONG:
        return [data[n : n + 1] for n in range(len(data))]
    edge = _LONG // 2
    middle = data[edge:-edge]
    step = len(middle) // 64 + 1
    pieces = [middle[n : n + step] for n in range(0, len(middle), step)]
    return in_bytes(data[:edge]) + pieces + in_bytes(data[-edge:])


@dataclass
class Heard:
    """All that came back on a connection, until it was closed."""

    raw: bytes
    reset: bool


async def converse(port: int, pieces: list[bytes], *, half_close: bool = False, host: str = "127.0.0.1") -> Heard:
    """Send pieces, each as a segment of its own, and listen until the other side closes."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, (host, port))
        sending = asyncio.create_task(_send(sock, pieces, half_close=half_close))
        heard, reset = [], False
        try:
            async with asyncio.timeout(DEADLINE):
                while data := await loop.sock_recv(sock, 65_536):
                    heard.append(data)
        except ConnectionResetError:
            reset = True
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return Heard(b"".join(heard), reset)


async def _send(sock: socket.socket, pieces: list[bytes], *, half_close: bool) -> None:
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        for piece in pieces:
            await loop.sock_sendall(sock, piece)
            await asyncio.sleep(0)  # lets the proxy, in this loop too, read it by itself
        if half_close:
            sock.shutdown(socket.SHUT_WR)


@dataclass
class Recorder:
    """An upstream that writes down each byte it gets, by connection."""

    port: int = 0
    streams: list[bytearray] = field(default_factory=list)


Answering = Callable[[h11.Request, asyncio.StreamWriter], Awaitable[None]]


async def answer_ok(request: h11.Request, writer: asyncio.StreamWriter) -> None:
    writer.write(CHUNKED if request.target == b"/chunked-response" else OK)


@asynccontextmanager
async def recorder(answer: Answering = answer_ok, *, early: bool = False) -> AsyncIterator[Recorder]:
    """Serve while the block runs. Requests are read by h11; what it cannot read is recorded and not answered.

    An early answer comes as soon as the head has.
    """
    recorded = Recorder()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = bytearray()
        recorded.streams.append(stream)
        with suppress(h11.RemoteProtocolError):
            await _serve(reader, writer, stream, answer, early=early)

    async with serving(serve) as server:
        recorded.port = server.sockets[0].getsockname()[1]
        yield recorded


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: bytearray, answer: Answering, *, early: bool
) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**24)
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65_536)
            stream += data
            if not data:
                return
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            request = event
            if early:
                await answer(request, writer)
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            if not early:
                await answer(request, writer)
            rest, _ = connection.trailing_data
            connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**24)
            if rest:
                connection.receive_data(rest)
