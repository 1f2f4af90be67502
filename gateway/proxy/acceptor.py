"""`listen`: accepts the connections of clients on a socket, and takes each to where its HTTP begins."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from socket import AF_UNIX, socket
from ssl import SSLContext
from time import time
from typing import Any

from gateway.limits.address import Address, Network, Unix
from gateway.proxy.client_certificate import read_certificate, rejected, rejection_of
from gateway.proxy.observer import RequestObserver
from gateway.proxy.peer import Peer, peer_address
from gateway.proxy.proxy_protocol import ProxyProtocol, RefusedHeaderError
from gateway.proxy.server import Server
from gateway.proxy.tls_transport import TlsTransport
from gateway.settings.intake import Intake

_MAX_ACCEPTS = 64
"""Connections accepted in one iteration of the event loop."""

_ACCEPT_PAUSE = 1.0
"""Seconds to wait when the system cannot accept another connection, for lack of descriptors for example."""


ServingContext = Callable[[], SSLContext]
"""What a connection that begins now serves TLS with."""


async def listen(
    server: Server,
    listening: socket,
    intake: Intake,
    observer: RequestObserver,
    backlog: int,
    *,
    tls: ServingContext | None = None,
    proxies: Sequence[Network | Unix] = (),
) -> "Acceptor | PreambleAcceptor":
    """Accept connections for `server` on a bound socket, until `close` or `finish`.

    Args:
        server: Makes connections, and counts them.
        listening: The socket.
        intake: Limits on connections.
        observer: Notified of connections that were rejected before HTTP began.
        backlog: How many connections may wait in the kernel.
        tls: Certificate and key; None for plain HTTP.
        proxies: Who begins each connection with the PROXY protocol's header.
    """
    listening.listen(backlog)
    if tls is not None or proxies:
        protocol = ProxyProtocol(proxies, intake.proxy_protocol_timeout, intake.max_proxy_protocol) if proxies else None
        return PreambleAcceptor(server, listening, intake.head_timeout, observer, protocol, tls)
    return await accept(server, listening, backlog)


async def accept(make: Callable[[], asyncio.BaseProtocol], listening: socket, backlog: int) -> "Acceptor":
    """Accept connections that `make` serves, until `close` or `finish`.

    Args:
        make: Makes what serves a connection.
        listening: A socket that listens.
        backlog: How many connections may wait in the kernel.
    """
    loop = asyncio.get_running_loop()
    if listening.family == AF_UNIX:
        # The file of the socket is the supervisor's.
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        accepting = await loop.create_unix_server(make, sock=listening, backlog=backlog, **keep)
    else:
        accepting = await loop.create_server(make, sock=listening, backlog=backlog)
    return Acceptor(make, listening, accepting)


class Acceptor:
    """Accepts connections that begin with HTTP.

    Args:
        make: Makes what serves a connection.
        listening: A socket that listens.
        accepting: What accepts connections on it.
    """

    __slots__ = ("_accepting", "_listening", "_make")

    def __init__(self, make: Callable[[], asyncio.BaseProtocol], listening: socket, accepting: asyncio.Server) -> None:
        self._make = make
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
            await loop.connect_accepted_socket(self._make, accepted)


def _accept_waiting(listening: socket) -> list[tuple[socket, Any]]:
    """Accept all connections that wait on a socket, and close it."""
    found = []
    with listening, suppress(OSError):  # there are no more, or there is no descriptor for another
        while True:
            found.append(listening.accept())
    return found


class PreambleAcceptor:
    """Accepts connections on which something comes before HTTP: the PROXY protocol's header, a TLS handshake, or both.

    They are counted from the start. An event loop reports a connection when its handshake is complete: until then it
    would count against no limit, and thousands of clients that never send a ClientHello would cost only us. A
    connection over a limit is closed without a response, since a 503 would need the preamble first.

    Args:
        server: Makes connections, and counts them.
        listening: A socket that listens; `close` closes it.
        handshake_timeout: Seconds for a handshake.
        observer: Notified of connections that were rejected before HTTP began.
        protocol: Reads the PROXY protocol's headers; None if nobody sends them.
        tls: Certificate and key; None for plain HTTP.
    """

    __slots__ = (
        "_handshake_timeout", "_listening", "_loop", "_observer", "_pause", "_preambles", "_protocol", "_server",
        "_tls",
    )  # fmt: skip

    def __init__(
        self,
        server: Server,
        listening: socket,
        handshake_timeout: float,
        observer: RequestObserver,
        protocol: ProxyProtocol | None,
        tls: ServingContext | None,
    ) -> None:
        self._server = server
        self._listening = listening
        self._handshake_timeout = handshake_timeout
        self._observer = observer
        self._protocol = protocol
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._preambles: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Accept no more; existing connections and their preambles go on."""
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
        relayed = self._protocol is not None and self._protocol.requires(peer)
        # A proxy connects for many clients: the address for which its connection counts comes with the header.
        counted = None if relayed else peer
        cause = self._server.admit(counted)
        if cause is not None:
            self._observer.rejected(cause)
            accepted.close()
            return
        accepted.setblocking(False)
        arrival = _Arrival(self._server, self._observer, counted, peer, "http" if self._tls is None else "https")
        preamble = self._loop.create_task(self._take_in(accepted, arrival, relayed=relayed))
        self._preambles.add(preamble)
        preamble.add_done_callback(self._preambles.discard)

    async def _take_in(self, accepted: socket, arrival: "_Arrival", *, relayed: bool) -> None:
        """Take a connection to where its HTTP begins."""
        try:
            cause = await self._read_header(accepted, arrival, relayed=relayed)
            if cause is not None:
                accepted.close()
            else:
                cause = await self._start(accepted, arrival)
            if cause is not None:
                self._observer.rejected(cause)
        finally:
            if not arrival.handed_on:
                arrival.release()

    async def _read_header(self, accepted: socket, arrival: "_Arrival", *, relayed: bool) -> str | None:
        """Find out whom a connection comes from. Returns why it is rejected, or None."""
        protocol = self._protocol
        if protocol is None:
            return None
        try:
            if relayed:
                return arrival.come_from(await protocol.read(accepted) or arrival.address)
            await protocol.check_stranger(accepted)
        except RefusedHeaderError as error:
            self._observer.identity_rejected(error.rejection)
            return "proxy_protocol"
        except OSError:  # it was closed before anything was sent, as a check that the port is open does
            return "proxy_protocol"
        return None

    async def _start(self, accepted: socket, arrival: "_Arrival") -> str | None:
        """Shake hands if the listener has TLS, and start HTTP. Returns why the connection is rejected, or None."""
        connection = self._server.connection(arrival.meet)
        try:
            if self._tls is None:
                await self._loop.connect_accepted_socket(lambda: connection, accepted)
                return None
            context = self._tls()
            tls = TlsTransport(connection, context)
            async with asyncio.timeout(self._handshake_timeout):
                await self._loop.connect_accepted_socket(lambda: tls, accepted)
                await tls.handshake()
            if self._tls() is not context:
                connection.finish()  # it was verified by certificates that were replaced meanwhile
        except OSError as error:  # no TLS, no common version, no certificate that is trusted, gone, or too slow
            if (rejection := rejection_of(error)) is not None:
                self._observer.identity_rejected(rejection)
            return "handshake"
        return None


class _Arrival:
    """A connection on its way to where HTTP begins.

    Args:
        server: Counts it.
        observer: Notified if it is rejected.
        counted: The address for which it counts; None for that of nobody.
        address: The peer's address.
        scheme: ``http`` or ``https``.

    Attributes:
        address: The client's address, as far as it is known.
        handed_on: Whether HTTP has begun, so that the connection counts itself.
    """

    __slots__ = ("_counted", "_observer", "_scheme", "_server", "address", "handed_on")

    def __init__(
        self,
        server: Server,
        observer: RequestObserver,
        counted: Address | Unix | None,
        address: Address | Unix | None,
        scheme: str,
    ) -> None:
        self._server = server
        self._observer = observer
        self._counted = counted
        self._scheme = scheme
        self.address = address
        self.handed_on = False

    def come_from(self, address: Address | Unix | None) -> str | None:
        """Count the connection for this address from now on. Returns why it is rejected, or None."""
        cause = self._server.admit_from(address)
        if cause is None:
            self.address = self._counted = address
        return cause

    def release(self) -> None:
        """Count the connection no more."""
        self._server.release(self._counted)

    def meet(self, transport: asyncio.Transport) -> Peer | str:
        """HTTP begins. Returns who is at the other end, or why the connection is rejected."""
        tls = transport.get_extra_info("ssl_object")
        der = None if tls is None else tls.getpeercert(binary_form=True)
        certificate = None if der is None else read_certificate(der)
        if certificate is not None and certificate.expires <= time():
            # The session was resumed, and only the handshake with which it began has verified the certificate.
            self._observer.identity_rejected(rejected("expired"))
            return "handshake"
        self.handed_on = True
        return self._server.peer(self.address, self._scheme, certificate)
