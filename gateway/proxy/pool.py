"""`Pool`: the connections to one upstream, which are opened, used again and closed."""

import asyncio
import ssl
from collections.abc import Container
from functools import partial
from typing import Final
from weakref import WeakSet

from gateway.config.certificates import upstream_context
from gateway.proxy.connector import Connector
from gateway.proxy.failure_reason import FailureReason
from gateway.proxy.observer import RequestObserver
from gateway.proxy.resolver import Resolver
from gateway.proxy.responses import UNAVAILABLE
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError
from gateway.proxy.upstream_server import UpstreamServer
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin

_KEEP_ALIVE_MARGIN: Final = 1.0
"""Seconds by which a connection is closed before the upstream does it: a request takes time to arrive."""


class Pool:
    """Connections to the servers of one upstream, which are used in turn (round robin).

    One of several that fails is left out until a probe of the pool's own succeeds; if all are, they are tried all the
    same.

    Args:
        upstream: Its settings: addresses, timeouts, limits.
        loop: The event loop.
        coalescer: Carries out writes.
        observer: Notified of servers that fail, are left out, and are back.
        resolver: Resolves names.
        tls: What connections to https addresses use; made of the settings if it is not given.
    """

    __slots__ = (
        "_closing",
        "_connector",
        "_in_use",
        "_loop",
        "_next",
        "_observer",
        "_pinned_count",
        "_servers",
        "upstream",
    )

    def __init__(
        self,
        upstream: Upstream,
        loop: asyncio.AbstractEventLoop,
        coalescer: WriteCoalescer,
        observer: RequestObserver,
        resolver: Resolver,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.upstream = upstream
        self._loop = loop
        self._observer = observer
        self._servers = [UpstreamServer(origin, upstream.eject_time) for origin in upstream.urls]
        self._closing: WeakSet[UpstreamConnection] = WeakSet()
        self._next = 0
        self._in_use = 0
        self._pinned_count = 0
        if tls is None and any(origin.scheme == "https" for origin in upstream.urls):
            tls = upstream_context(upstream)
        self._connector = Connector(upstream, loop, coalescer, observer, resolver, tls)
        if upstream.health is not None:
            for server in self._servers:
                server.check(loop, self._connector.probe, upstream.health, partial(self._unhealthy, server))

    def use(self, tls: ssl.SSLContext) -> None:
        """Use other certificates from now on. Connections that were made with the ones before are closed when idle."""
        if tls is not self._connector.tls:
            self._connector.tls = tls
            for server in self._servers:
                server.close_idle()

    def is_current(self, connection: UpstreamConnection) -> bool:
        """Whether a connection was made with the certificates in force."""
        return connection.tls is None or connection.tls is self._connector.tls

    async def take(self, *, fresh: bool = False, but: Container[Origin] = ()) -> UpstreamConnection:
        """An idle connection or a new one; with `fresh`, always a new one; to any server but these.

        Raises:
            ForwardError: no server can be reached, or too many connections are in use: requests to a slow upstream
                must not use up what others need.
        """
        self._check_room()
        failure = None
        for server in self._next_servers():
            if server.origin in but:
                continue
            while server.idle and not fresh:
                connection = server.idle.pop()
                if connection.open:
                    self._in_use += 1
                    return connection
            try:
                connection = await self._open(server.origin)
            except ForwardError as error:
                self._unreachable(server, error)
                failure = error
            else:
                server.reachable = True
                return connection
        raise failure or ForwardError("the upstream has no address", reason=FailureReason.UNREACHABLE)

    def _check_room(self) -> None:
        if self._in_use >= self.upstream.max_connections:
            raise ForwardError("too many connections are in use", UNAVAILABLE, reason=FailureReason.BUSY)

    def _unreachable(self, server: UpstreamServer, error: ForwardError) -> None:
        name, reason = self.upstream.name, (error.reason or FailureReason.UNREACHABLE).value
        was_reachable, server.reachable = server.reachable, False
        if was_reachable and not self._leaves_out:
            self._observer.upstream_unreachable(name, reason, str(error))
            return
        self._observer.upstream_failed(name, str(server.origin), reason, str(error))
        self._leave_out(server, error)

    def failed(self, error: ForwardError) -> bool:
        """A server gave no response after a connection was made: this counts as much as no connection.

        Returns:
            Whether the server's name has another address that works.
        """
        for server in self._servers:
            if server.origin is error.origin:
                if self._connector.leave_out(server.origin, error.host, error):
                    server.close_idle(error.host)
                    return True
                self._leave_out(server, error)
        return False

    def _unhealthy(self, server: UpstreamServer, error: ForwardError) -> None:
        reason = (error.reason or FailureReason.UNREACHABLE).value
        self._observer.upstream_failed(self.upstream.name, str(server.origin), reason, str(error))
        self._leave_out(server, error)

    @property
    def _leaves_out(self) -> bool:
        return len(self._servers) > 1 and self.upstream.eject_time > 0

    def _leave_out(self, server: UpstreamServer, error: ForwardError) -> None:
        if not self._leaves_out or not server.health.usable:
            return
        name, address = self.upstream.name, str(server.origin)

        def back(seconds: float) -> None:
            server.reachable = True
            self._observer.server_back(name, address, seconds)

        server.leave_out(self._loop, self._connector.probe, back)
        reason = error.reason or FailureReason.UNREACHABLE
        self._observer.server_left_out(name, address, reason.value, str(error))

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request, or close it if it cannot be used again."""
        self._in_use -= 1
        connection.release()
        if connection.reusable and connection.open and not connection.authenticated and self.is_current(connection):
            left = self._idle_time(connection)
            for server in self._servers:
                if server.origin is connection.origin and len(server.idle) < self.upstream.max_idle and left > 0:
                    connection.expire(left)
                    server.idle.append(connection)
                    return
        connection.close()
        if connection.closing:
            self._closing.add(connection)

    def _idle_time(self, connection: UpstreamConnection) -> float:
        """Seconds for which a connection may be kept; 0 or less if it must be closed."""
        most = self.upstream.keepalive_time
        if connection.keep_alive is not None:
            most = min(most, connection.keep_alive - _KEEP_ALIVE_MARGIN)
        return min(most, connection.made + self.upstream.keepalive_age - self._loop.time())

    def pin(self, connection: UpstreamConnection) -> bool:
        """Keep a connection that was in use for one client only. Returns whether it was kept; otherwise it is closed.

        Up to `max_idle` are kept for all clients together.
        """
        self._in_use -= 1
        connection.release()
        if connection.reusable and connection.open and self._pinned_count < self.upstream.max_idle:
            self._pinned_count += 1
            return True
        connection.close()
        return False

    def take_pinned(self) -> None:
        """Use a pinned connection again.

        Raises:
            ForwardError: too many connections are in use; the connection stays pinned.
        """
        self._check_room()
        self._pinned_count -= 1
        self._in_use += 1

    def drop_pinned(self, connection: UpstreamConnection) -> None:
        """Close a pinned connection."""
        self._pinned_count -= 1
        connection.close()

    def close(self) -> None:
        """Close all idle connections, and abort closed tunnels that are still sending their last bytes."""
        for connection in self._closing:
            connection.abort()
        for server in self._servers:
            server.close()
        self._connector.close()

    def _next_servers(self) -> list[UpstreamServer]:
        if len(self._servers) == 1:
            return self._servers
        self._next = (self._next + 1) % len(self._servers)
        servers = self._servers[self._next :] + self._servers[: self._next]
        return [s for s in servers if s.health.usable] + [s for s in servers if not s.health.usable]

    async def _open(self, origin: Origin) -> UpstreamConnection:
        self._in_use += 1
        try:
            return await self._connector.connect(origin)
        except BaseException:
            self._in_use -= 1
            raise
