"""Connections to upstreams: kept alive, shared out, opened anew."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakSet

from gateway.proxy.observer import RequestObserver
from gateway.proxy.resolver import Resolver
from gateway.proxy.responses import GATEWAY_TIMEOUT, UNAVAILABLE
from gateway.proxy.tls import TlsTransport
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin


@dataclass(slots=True)
class _Address:
    """One address of an upstream, and the connections to it that are free; the one used last is taken first."""

    origin: Origin
    idle: list[UpstreamConnection] = field(default_factory=list)
    left_out_until: float = 0.0
    reachable: bool = True


class Pool:
    """Connections to the addresses of one upstream, taken in turn.

    An address that cannot be reached is left out for a while; when all are, they are tried all the same.

    Args:
        upstream: Its addresses, and how long to wait for them.
        loop: Keeps the time.
        outbox: Carries out what is written to it.
        observer: Is told when one of them cannot be reached any more.
        resolver: Finds the addresses behind their names.
    """

    __slots__ = (
        "_addresses",
        "_aside",
        "_closing",
        "_loop",
        "_observer",
        "_outbox",
        "_resolver",
        "_taken",
        "_tls",
        "_turn",
        "upstream",
    )

    def __init__(
        self,
        upstream: Upstream,
        loop: asyncio.AbstractEventLoop,
        outbox: WriteCoalescer,
        observer: RequestObserver,
        resolver: Resolver,
    ) -> None:
        self.upstream = upstream
        self._loop = loop
        self._outbox = outbox
        self._observer = observer
        self._resolver = resolver
        self._addresses = [_Address(origin) for origin in upstream.urls]
        self._closing: WeakSet[UpstreamConnection] = WeakSet()
        self._turn = 0
        self._taken = 0
        self._aside = 0
        self._tls = _trust(upstream) if any(origin.scheme == "https" for origin in upstream.urls) else None

    async def take(self, *, fresh: bool = False) -> UpstreamConnection:
        """A connection that is free; with `fresh`, one that has never been used. Only to open one takes time.

        Raises:
            ForwardError: no address could be reached, or too many connections are in use: requests that wait for a
                slow upstream must not take what others need.
        """
        self._check_room()
        failure = None
        for address in self._in_turn():
            while address.idle and not fresh:
                connection = address.idle.pop()
                if connection.open:
                    self._taken += 1
                    return connection
            try:
                connection = await self._open(address.origin)
            except ForwardError as error:
                self._leave_out(address, error)
                failure = error
            else:
                address.reachable = True
                return connection
        raise failure or ForwardError("the upstream has no address")

    def _check_room(self) -> None:
        if self._taken >= self.upstream.max_connections:
            raise ForwardError("too many connections are in use", UNAVAILABLE)

    def _leave_out(self, address: _Address, error: ForwardError) -> None:
        address.left_out_until = self._loop.time() + self.upstream.eject_time
        if address.reachable:  # said once, not for each request that finds it so
            address.reachable = False
            self._observer.upstream_unreachable(self.upstream.name, str(error))

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request, or close it if it cannot carry one."""
        self._taken -= 1
        connection.release()
        if connection.reusable and connection.open and not connection.bound:
            for address in self._addresses:
                if address.origin is connection.origin and len(address.idle) < self.upstream.max_idle:
                    connection.expire(self.upstream.keepalive_time)
                    address.idle.append(connection)
                    return
        connection.close()
        if connection.closing:
            self._closing.add(connection)

    def set_aside(self, connection: UpstreamConnection) -> bool:
        """Keep a connection that was in use for one client alone. Returns whether that can be; else it is closed.

        As many as `max_idle` are kept for all clients together.
        """
        self._taken -= 1
        connection.release()
        if connection.reusable and connection.open and self._aside < self.upstream.max_idle:
            self._aside += 1
            return True
        connection.close()
        return False

    def take_aside(self) -> None:
        """Use a connection that was set aside, once more.

        Raises:
            ForwardError: too many connections are in use; it stays where it is.
        """
        self._check_room()
        self._aside -= 1
        self._taken += 1

    def drop_aside(self, connection: UpstreamConnection) -> None:
        """Close a connection that was set aside."""
        self._aside -= 1
        connection.close()

    def close(self) -> None:
        """Close all idle connections, and abort those that are still sending their last bytes."""
        for connection in self._closing:
            connection.abort()
        for address in self._addresses:
            while address.idle:
                address.idle.pop().close()

    def _in_turn(self) -> list[_Address]:
        if len(self._addresses) == 1:
            return self._addresses
        self._turn = (self._turn + 1) % len(self._addresses)
        turn = self._addresses[self._turn :] + self._addresses[: self._turn]
        now = self._loop.time()
        return [a for a in turn if a.left_out_until <= now] + [a for a in turn if a.left_out_until > now]

    async def _open(self, origin: Origin) -> UpstreamConnection:
        self._taken += 1
        lacking = "was not looked up"
        try:
            async with asyncio.timeout(self.upstream.connect_timeout):
                hosts = await self._resolver.resolve(origin.host)
                lacking = "did not accept a connection"
                connection = await self._connect(origin, hosts)
        except BaseException as error:
            self._taken -= 1
            if isinstance(error, TimeoutError):
                raise ForwardError(f"{origin} {lacking} in time", GATEWAY_TIMEOUT) from None
            if isinstance(error, OSError):
                raise ForwardError(f"{origin} cannot be reached: {error}") from error
            raise
        return connection

    async def _connect(self, origin: Origin, hosts: Sequence[str]) -> UpstreamConnection:
        """Connect to the first of a name's addresses that accepts a connection."""
        failures = []
        for host in hosts:
            try:
                return await self._connect_to(origin, host)
            except OSError as error:
                failures.append(str(error))
        raise OSError("; ".join(failures))

    async def _connect_to(self, origin: Origin, host: str) -> UpstreamConnection:
        connection = UpstreamConnection(origin, self._loop, self._outbox)
        if self._tls is None or origin.scheme != "https":
            await self._loop.create_connection(lambda: connection, host, origin.port)
        else:
            tls = TlsTransport(connection, self._tls, origin.host.removesuffix("."))
            await self._loop.create_connection(lambda: tls, host, origin.port)
            await tls.handshake()
        return connection


def _trust(upstream: Upstream) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=upstream.ca)
    if not upstream.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context
