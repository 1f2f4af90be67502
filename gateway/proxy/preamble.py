"""`Preambles`: takes connections to where HTTP begins: past the PROXY protocol's header, a TLS handshake, or both."""

import asyncio
from collections.abc import Callable
from socket import socket
from ssl import SSLContext
from time import time
from typing import Any

from gateway.limits.address import Address, Unix
from gateway.proxy.accepted_socket import readable
from gateway.proxy.client_certificate import read_certificate, rejected, rejection_of
from gateway.proxy.client_connection import ClientConnection
from gateway.proxy.handshake_pace import HandshakePace
from gateway.proxy.observer import RequestObserver
from gateway.proxy.peer import Peer, peer_address
from gateway.proxy.proxy_protocol import ProxyProtocol, RefusedHeaderError
from gateway.proxy.server import Server
from gateway.proxy.tls_transport import TlsTransport

ServingContext = Callable[[], SSLContext]
"""What a connection that begins now serves TLS with."""


class Preambles:
    """Takes connections to where HTTP begins.

    They are counted from the start. An event loop reports a connection when its handshake is complete: until then it
    would count against no limit, and thousands of clients that never send a ClientHello would cost only us. A
    connection over a limit is closed without a response, since a 503 would need the preamble first.

    Args:
        server: Makes connections, and counts them.
        handshake_timeout: Seconds for a handshake.
        observer: Notified of connections that were rejected before HTTP began.
        protocol: Reads the PROXY protocol's headers; None if nobody sends them.
        tls: Certificate and key; None for plain HTTP.
        pace: When handshakes may begin.
    """

    __slots__ = ("_handshake_timeout", "_loop", "_observer", "_pace", "_preambles", "_protocol", "_server", "_tls")

    def __init__(
        self,
        server: Server,
        handshake_timeout: float,
        observer: RequestObserver,
        protocol: ProxyProtocol | None,
        tls: ServingContext | None,
        pace: HandshakePace,
    ) -> None:
        self._server = server
        self._handshake_timeout = handshake_timeout
        self._observer = observer
        self._protocol = protocol
        self._tls = tls
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._preambles: set[asyncio.Task[None]] = set()

    def begin(self, accepted: socket, name: Any) -> None:
        """Take in a connection that was accepted from this peer."""
        peer = peer_address(accepted, name)
        relayed = self._protocol is not None and self._protocol.requires(peer)
        # A proxy connects for many clients: the address for which its connection counts comes with the header.
        counted = None if relayed else peer
        cause = self._server.admit(counted)
        if cause is not None:
            self._observer.rejected(cause)
            accepted.close()
            return
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
        """Start HTTP, after a handshake if the listener has TLS. Returns why the connection is rejected, or None."""
        connection = self._server.connection(arrival.meet)
        if self._tls is not None:
            return await self._shake_hands(accepted, connection, self._tls)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:  # it is gone
            accepted.close()
        return None

    async def _shake_hands(self, accepted: socket, connection: ClientConnection, serving: ServingContext) -> str | None:
        """Have a connection start after a handshake. Returns why it is rejected, or None."""
        cause, tls = "handshake", None
        try:
            async with asyncio.timeout(self._handshake_timeout):
                await readable(accepted)
                cause = "too_many_handshakes"
                await self._pace.turn(accepted)
                cause = "handshake"
                context = serving()
                tls = TlsTransport(connection, context)
                await self._loop.connect_accepted_socket(lambda: tls, accepted)
                await tls.handshake()
            if serving() is not context:
                connection.finish()  # it was verified by certificates that were replaced meanwhile
        except OSError as error:  # no TLS, no common version, no certificate that is trusted, gone, or too slow
            if (rejection := rejection_of(error)) is not None:
                self._observer.identity_rejected(rejection)
            return cause
        finally:
            if tls is None:
                accepted.close()
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
