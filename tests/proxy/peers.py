"""Clients and servers with blocking sockets, in threads.

An event loop's TLS hides how a connection ends. Here a test chooses: close_notify, FIN without it, or RST.
"""

import asyncio
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from struct import pack

from tests.proxy.running import Running, proxy
from tests.waiting import DEADLINE

BODY = b"".join(b"%08d" % number for number in range(750_000))
"""6 MB, of which no piece looks like another."""

_PIECE = 8_192


def close_notify(stream: socket.socket) -> None:
    """Send TLS's close_notify and FIN; the other direction stays open."""
    if isinstance(stream, ssl.SSLSocket):
        stream.settimeout(0)
        while True:
            try:
                stream.unwrap()
            except ssl.SSLWantWriteError:
                select.select([], [stream], [], DEADLINE)
            except (OSError, ValueError):  # it is sent; the peer's has not come yet
                break
            else:
                break
        stream.settimeout(DEADLINE)
    with suppress(OSError):
        socket.socket.shutdown(stream, socket.SHUT_WR)  # SSLSocket.shutdown() would switch TLS off


def fin(stream: socket.socket) -> None:
    """Send FIN, without close_notify."""
    with suppress(OSError):
        socket.socket.shutdown(stream, socket.SHUT_WR)


def reset(stream: socket.socket) -> None:
    """Send RST; what is in the socket's buffer is lost."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    stream.close()


def read_head(stream: socket.socket) -> tuple[bytes, bytes]:
    """A head with its empty line, and the bytes after it."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = stream.recv(_PIECE)
        if not piece:
            raise EOFError(got)
        got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def read_all(stream: socket.socket, got: bytes = b"") -> bytes:
    """Read to the end, in small pieces.

    Raises:
        OSError: The stream is truncated.
    """
    pieces = [got]
    with suppress(ssl.SSLZeroReturnError):  # close_notify, when we have sent ours before
        while piece := stream.recv(_PIECE):
            pieces.append(piece)
    return b"".join(pieces)


def read_until(stream: socket.socket, got: bytes, is_whole: Callable[[bytearray], bool]) -> bytes:
    """Read in small pieces until it is enough.

    Raises:
        EOFError: The stream ends before.
    """
    found = bytearray(got)
    while not is_whole(found):
        piece = stream.recv(_PIECE)
        if not piece:
            raise EOFError(len(found))
        found += piece
    return bytes(found)


Script = Callable[[socket.socket], None]


@dataclass
class Peer:
    """A server.

    Attributes:
        port: Where it listens.
        errors: What its scripts raised.
    """

    port: int
    errors: list[Exception] = field(default_factory=list)


@contextmanager
def peer(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """Run a script on each connection, one after the other. The receive buffer is small: the server reads slowly."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        served = Peer(listening.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listening.accept()
                except OSError:
                    return
                try:
                    accepted.settimeout(DEADLINE)
                    with tls.wrap_socket(accepted, server_side=True) if tls else accepted as stream:
                        script(stream)
                except Exception as error:  # noqa: BLE001 - a test looks at it
                    served.errors.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield served
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)


@contextmanager
def client(port: int, tls: ssl.SSLContext | None = None) -> Iterator[socket.socket]:
    """A connection to a proxy. The receive buffer is small: the client reads slowly."""
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
        opened.settimeout(DEADLINE)
        opened.connect(("127.0.0.1", port))
        if tls is None:
            yield opened
        else:
            with tls.wrap_socket(opened, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as stream:
                yield stream


def dechunk(data: bytes) -> tuple[bytes, bool]:
    """The content of a chunked body, and whether the body is complete."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return b"".join(pieces), False
        size = int(data[at:end], 16)
        if size == 0:
            return b"".join(pieces), data[end:] == b"\r\n\r\n"
        pieces.append(data[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
        if at > len(data):
            return b"".join(pieces), False


@contextmanager
def proxy_on(new_loop: Callable[[], asyncio.AbstractEventLoop], *ports: int, **options: object) -> Iterator[Running]:
    """A proxy in a thread of its own, on the given kind of event loop."""
    started: SimpleQueue[tuple[Running, Callable[[], object]] | Exception] = SimpleQueue()

    async def serve() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        async with proxy(*ports, **options) as running:  # type: ignore[arg-type] # as it takes them
            started.put((running, lambda: loop.call_soon_threadsafe(over.set)))
            await over.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(serve())
        except Exception as error:  # noqa: BLE001 - a test looks at it
            started.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    first = started.get(timeout=DEADLINE)
    if isinstance(first, Exception):
        raise first
    running, stop = first
    try:
        yield running
    finally:
        stop()
        thread.join(DEADLINE)
        assert started.empty(), started.get()
