"""Peers that block, in threads of their own, with the socket's and OpenSSL's ends as they are.

An event loop's TLS hides how a connection ends; here a test says it: with close_notify, without one, or by a reset.
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


def say_end(stream: socket.socket) -> None:
    """TLS's close_notify, and FIN behind it; the other direction stays open."""
    if isinstance(stream, ssl.SSLSocket):
        stream.settimeout(0)
        while True:
            try:
                stream.unwrap()
            except ssl.SSLWantWriteError:
                select.select([], [stream], [], DEADLINE)
            except (OSError, ValueError):  # it is said, and the peer has not said its own yet
                break
            else:
                break
        stream.settimeout(DEADLINE)
    with suppress(OSError):
        socket.socket.shutdown(stream, socket.SHUT_WR)  # an SSLSocket's own forgets TLS


def cut_off(stream: socket.socket) -> None:
    """FIN, and no word of TLS before it."""
    with suppress(OSError):
        socket.socket.shutdown(stream, socket.SHUT_WR)


def reset(stream: socket.socket) -> None:
    """RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    stream.close()


def read_head(stream: socket.socket) -> tuple[bytes, bytes]:
    """A head with its empty line, and what came behind it."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = stream.recv(_PIECE)
        if not piece:
            raise EOFError(got)
        got += piece
    head, _, rest = got.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def read_all(stream: socket.socket, got: bytes = b"") -> bytes:
    """All there is, in small pieces.

    Raises:
        OSError: It was cut off.
    """
    pieces = [got]
    with suppress(ssl.SSLZeroReturnError):  # what close_notify is behind our own
        while piece := stream.recv(_PIECE):
            pieces.append(piece)
    return b"".join(pieces)


def read_until(stream: socket.socket, got: bytes, is_whole: Callable[[bytearray], bool]) -> bytes:
    """As much as it takes, in small pieces.

    Raises:
        EOFError: There is no more.
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
    """Run a script on each connection, one behind the other; its buffers are small, so that it takes bytes slowly."""
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
                except Exception as error:  # noqa: BLE001 - the test is told
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
    """A connection to a proxy, with small buffers."""
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
    """A chunked body, as far as it goes. Returns whether it is whole, too."""
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
    """A proxy in a thread of its own, on an event loop of one kind or another."""
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
        except Exception as error:  # noqa: BLE001 - the test is told
            started.put(error)

    thread = threading.Thread(target=run)
    thread.start()
    told = started.get(timeout=DEADLINE)
    if isinstance(told, Exception):
        raise told
    running, stop = told
    try:
        yield running
    finally:
        stop()
        thread.join(DEADLINE)
        assert started.empty(), started.get()
