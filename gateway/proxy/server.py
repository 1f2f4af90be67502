"""`Server`: accepts the connections of clients up to a limit, and drains without breaking any."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from socket import AF_UNIX, socket
from ssl import SSLContext
from typing import Any

from gateway.limits.address import UNIX, Address, Unix, group
from gateway.proxy.client_connection import ClientConnection
from gateway.proxy.exchange import Exchange
from gateway.proxy.observer import RequestObserver
from gateway.proxy.peer import peer_address
from gateway.proxy.request_id import RequestIds
from gateway.proxy.tls_transport import TlsTransport
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.intake import Intake

_MAX_ACCEPTS = 64
"""Connections accepted in one iteration of the event loop."""

_ACCEPT_PAUSE = 1.0
"""Seconds to wait when the system cannot accept another connection, for lack of descriptors for example."""


async def listen(
    server: "Server", listening: socket, intake: Intake, observer: RequestObserver, tls: SSLContext | None, backlog: int
) -> "Acceptor | TlsAcceptor":
    """Accept connections for `server` on a bound socket, until `close` or `finish`.

    Args:
        server: Makes connections, and counts them.
        listening: The socket.
        intake: Limits on connections.
        observer: Notified of connections that were rejected, or whose handshake failed.
        tls: Certificate and key; None for plain HTTP.
        backlog: How many connections may wait in the kernel.
    """
    listening.listen(backlog)
    if tls is not None:
        return TlsAcceptor(server, listening, intake, observer, tls)
    loop = asyncio.get_running_loop()
    if listening.family == AF_UNIX:
        # The file of the socket is the supervisor's.
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        accepting = await loop.create_unix_server(server, sock=listening, backlog=backlog, **keep)
    else:
        accepting = await loop.create_server(server, sock=listening, backlog=backlog)
    return Acceptor(server, listening, accepting)


class Acceptor:
    """Accepts connections.

    Args:
        server: Makes connections.
        listening: A socket that listens.
        accepting: What accepts connections on it.
    """

    __slots__ = ("_accepting", "_listening", "_server")

    def __init__(self, server: "Server", listening: socket, accepting: asyncio.Server) -> None:
        self._server = server
        self._listening = listening
        self._accepting = accepting

    def close(self) -> None:
        """Accept no more; connections that wait are left to another process that listens on the same socket."""
        self._accepting.close()

    async def finish(self) -> None:
        """Accept those that wait, and no more: the kernel would reset them if the last process closed its socket."""
        waiting = self._listening.dup()
        self._accepting.close()
        loop = asyncio.get_running_loop()
        for accepted, _ in _accept_waiting(waiting):
            accepted.setblocking(False)
            await loop.connect_accepted_socket(self._server, accepted)


def _accept_waiting(listening: socket) -> list[tuple[socket, Any]]:
    """Accept all connections that wait on a socket, and close it."""
    found = []
    with listening, suppress(OSError):  # there are no more, or there is no descriptor for another
        while True:
            found.append(listening.accept())
    return found


class Server:
    """Makes a `ClientConnection` for each client, and keeps a set of them.

    Args:
        handle: Handles a request.
        intake: Limits on connections and requests.
        observer: Notified of connections that were rejected or cut off.
        trusts: Whether an address is a trusted proxy's, which connects for many clients.
        ids: Makes the ids of requests.

    Attributes:
        draining: Whether responses tell clients to close their connections.
        held: The number of connections, including those whose TLS handshake is under way.
        connections: The connections, without those.
    """

    def __init__(
        self,
        handle: Callable[[Exchange], Awaitable[object]],
        intake: Intake,
        observer: RequestObserver,
        trusts: Callable[[Address | Unix | None], bool],
        ids: RequestIds,
    ) -> None:
        self._handle = handle
        self._ids = ids
        self._intake = intake
        self._observer = observer
        self._trusts = trusts
        self._loop = asyncio.get_running_loop()
        self._coalescer = WriteCoalescer(self._loop)
        self._held: dict[str, int] = {}
        self._empty: asyncio.Future[None] | None = None
        self.draining = False
        self.held = 0
        self.connections: set[ClientConnection] = set()

    def __call__(self) -> ClientConnection:
        return self.connection(self.admit)

    def connection(self, admit: Callable[[Address | Unix | None], str | None]) -> ClientConnection:
        """Make a connection; once it has a transport, `admit` returns why it is rejected, or None."""
        return ClientConnection(
            self._handle,
            self._intake,
            self._observer,
            admit,
            self._trusts,
            self._ids,
            self._coalescer,
            self._open,
            self._close,
        )

    def _open(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        if self.draining:
            connection.finish()

    def _close(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        self.release(connection.client.peer.address)

    def admit(self, peer: Address | Unix | None) -> str | None:
        """Count a new connection. Returns why it is rejected, or None; a rejected one is not counted."""
        if self.held >= self._intake.max_connections:
            return "too_many"
        holder = self._holder(peer)
        if holder is not None:
            held = self._held.get(holder, 0)
            if held >= self._intake.max_connections_per_address:
                return "too_many_of_one"
            self._held[holder] = held + 1
        self.held += 1
        return None

    def release(self, peer: Address | Unix | None) -> None:
        """Count a connection no more, since it is closed."""
        self.held -= 1
        holder = self._holder(peer)
        if holder is not None:
            left = self._held.pop(holder, 1) - 1
            if left:
                self._held[holder] = left
        if self._empty is not None and not self.held and not self._empty.done():
            self._empty.set_result(None)

    def _holder(self, peer: Address | Unix | None) -> str | None:
        """Whom a connection counts for; None on a Unix socket, and for a trusted proxy, which connects for many."""
        return None if peer is None or peer == UNIX or self._trusts(peer) else group(peer)

    async def drain(self, deadline: float) -> int:
        """Let the connections end: responses say `Connection: close`, and idle connections are closed after a while.

        Args:
            deadline: Seconds after which the remaining connections are aborted.

        Returns:
            How many connections had to be aborted.
        """
        self.draining = True
        for connection in self.connections:
            connection.finish()
        await self._wait_empty(deadline)
        left = self.held
        await self.shutdown(0.1)
        return left

    async def shutdown(self, seconds: float) -> None:
        """Close all connections; the requests in flight have `seconds` to end."""
        await asyncio.gather(*(connection.shutdown(seconds) for connection in self.connections))

    async def _wait_empty(self, seconds: float) -> None:
        if self.held:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=seconds)


class TlsAcceptor:
    """Accepts TLS connections, and counts them from the first byte.

    An event loop reports a connection when its handshake is complete. Until then it would count against no limit, and
    thousands of clients that never send a ClientHello would cost only us. A connection over a limit is closed without a
    response, since a 503 would need a handshake first.

    Args:
        server: Makes connections, and counts them.
        listening: A socket that listens; `close` closes it.
        intake: A handshake has `head_timeout`.
        observer: Notified of connections that were rejected, or whose handshake failed.
        tls: Certificate and key.
    """

    __slots__ = ("_handshakes", "_intake", "_listening", "_loop", "_observer", "_pause", "_server", "_tls")

    def __init__(
        self, server: Server, listening: socket, intake: Intake, observer: RequestObserver, tls: SSLContext
    ) -> None:
        self._server = server
        self._listening = listening
        self._intake = intake
        self._observer = observer
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Accept no more; existing connections and their handshakes go on."""
        self._stop_accepting()
        self._listening.close()

    async def finish(self) -> None:
        """As `Acceptor.finish`."""
        self._stop_accepting()
        for accepted, name in _accept_waiting(self._listening):
            self._begin(accepted, name)

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
                self._begin(*self._listening.accept())
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass
        except OSError:
            # Out of descriptors, for example: the loop would report it again at once, and for ever.
            self._loop.remove_reader(self._listening)
            self._pause = self._loop.call_later(_ACCEPT_PAUSE, self._open)

    def _begin(self, accepted: socket, name: Any) -> None:
        peer = peer_address(accepted, name)
        cause = self._server.admit(peer)
        if cause is not None:
            self._observer.rejected(cause)
            accepted.close()
            return
        accepted.setblocking(False)
        handshake = self._loop.create_task(self._handshake(accepted, peer))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _handshake(self, accepted: socket, peer: Address | Unix | None) -> None:
        made: list[Address | Unix | None] = []  # holds the peer once the connection counts itself
        tls = TlsTransport(self._server.connection(made.append), self._tls)
        try:
            async with asyncio.timeout(self._intake.head_timeout):
                await self._loop.connect_accepted_socket(lambda: tls, accepted)
                await tls.handshake()
        except OSError:  # no TLS, no common version, gone, or too slow
            self._observer.rejected("handshake")
        finally:
            if not made:
                self._server.release(peer)
