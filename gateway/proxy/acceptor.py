"""`listen`: accepts the connections of clients on a socket, and takes each to where its HTTP begins.

An event loop's own server may accept one connection in each of its iterations, as libuv does. An iteration takes long
while many requests are under way, so the last of a thousand clients that connect at once would wait for seconds while
the first ones are served again and again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from socket import socket
from typing import Any

from gateway.limits.address import Network, Unix
from gateway.proxy.handshake_pace import HandshakePace
from gateway.proxy.observer import RequestObserver
from gateway.proxy.preamble import Preambles, ServingContext
from gateway.proxy.proxy_protocol import ProxyProtocol
from gateway.proxy.server import Server
from gateway.settings.intake import Intake

_MAX_ACCEPTS = 64
"""Connections accepted in one iteration of the event loop: requests that are under way get their turn in between."""

_ACCEPT_PAUSE = 1.0
"""Seconds to wait when the system cannot accept another connection, for lack of descriptors for example."""

Begin = Callable[[socket, Any], Awaitable[object] | None]
"""Begins to serve an accepted socket with this peer name. Returns what to await until the connection is counted."""


def listen(
    server: Server,
    listening: socket,
    intake: Intake,
    observer: RequestObserver,
    backlog: int,
    pace: HandshakePace,
    *,
    tls: ServingContext | None = None,
    proxies: Sequence[Network | Unix] = (),
) -> "Acceptor":
    """Accept connections for `server` on a bound socket, until `close` or `finish`.

    Args:
        server: Makes connections, and counts them.
        listening: The socket.
        intake: Limits on connections.
        observer: Notified of connections that were rejected before HTTP began.
        backlog: How many connections may wait in the kernel.
        pace: When TLS handshakes may begin, on all sockets of the worker.
        tls: Certificate and key; None for plain HTTP.
        proxies: Who begins each connection with the PROXY protocol's header.
    """
    if tls is None and not proxies:
        return accept(server, listening, backlog)
    protocol = ProxyProtocol(proxies, intake.proxy_protocol_timeout, intake.max_proxy_protocol) if proxies else None
    preambles = Preambles(server, intake.head_timeout, observer, protocol, tls, pace)
    listening.listen(backlog)
    return Acceptor(listening, preambles.begin)


def accept(make: Callable[[], asyncio.BaseProtocol], listening: socket, backlog: int) -> "Acceptor":
    """Accept connections that `make` serves from their first byte on, until `close` or `finish`.

    Args:
        make: Makes what serves a connection.
        listening: A bound socket.
        backlog: How many connections may wait in the kernel.
    """
    listening.listen(backlog)
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    async def connect(accepted: socket) -> None:
        try:
            await loop.connect_accepted_socket(make, accepted)
        except OSError:  # it is gone
            accepted.close()

    def begin(accepted: socket, _: object) -> Awaitable[object]:
        task = loop.create_task(connect(accepted))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return task

    return Acceptor(listening, begin)


class Acceptor:
    """Accepts connections.

    Args:
        listening: A socket that listens; `close` closes it.
        begin: Begins to serve an accepted socket.
    """

    __slots__ = ("_begin", "_listening", "_loop", "_pause")

    def __init__(self, listening: socket, begin: Begin) -> None:
        self._listening = listening
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Accept no more; connections that wait are left to another process that listens on the same socket."""
        self._stop_accepting()
        self._listening.close()

    async def finish(self) -> None:
        """Accept those that wait, and no more: the kernel would reset them if the last process closed its socket."""
        self._stop_accepting()
        begun = [self._start(*each) for each in _accept_waiting(self._listening)]
        await asyncio.gather(*filter(None, begun))

    def _stop_accepting(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._listening.fileno() >= 0:  # else it is closed
            self._loop.remove_reader(self._listening)

    def _open(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        try:
            for _ in range(_MAX_ACCEPTS):
                self._start(*self._listening.accept())
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass
        except OSError:
            # Out of descriptors, for example: the loop would report it again at once, and for ever.
            self._loop.remove_reader(self._listening)
            self._pause = self._loop.call_later(_ACCEPT_PAUSE, self._open)

    def _start(self, accepted: socket, name: object) -> Awaitable[object] | None:
        accepted.setblocking(False)
        return self._begin(accepted, name)


def _accept_waiting(listening: socket) -> list[tuple[socket, Any]]:
    """Accept all connections that wait on a socket, and close it."""
    found = []
    with listening, suppress(OSError):  # there are no more, or there is no descriptor for another
        while True:
            found.append(listening.accept())
    return found
