"""`Connector`: makes connections to the servers of an upstream: names, addresses, TLS and Unix sockets."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from socket import AF_UNIX, socket

from gateway.loop.eager_run import ensure_task
from gateway.proxy.failure_reason import FailureReason, reason_of
from gateway.proxy.observer import RequestObserver
from gateway.proxy.race import race
from gateway.proxy.resolver import Resolver
from gateway.proxy.responses import GATEWAY_TIMEOUT
from gateway.proxy.server_probe import check_health, request_anything
from gateway.proxy.tls_transport import TlsTransport
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError
from gateway.proxy.upstream_server import UpstreamServer
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin

_SOCKET_RETRY = 0.01
"""Seconds until a connection to a Unix socket is tried again."""


class Connector:
    """Connects to the servers of one upstream.

    The addresses of a name are raced. One that fails while others work is tried last until a probe succeeds.

    Args:
        upstream: Its settings.
        loop: The event loop.
        coalescer: Carries out writes.
        observer: Notified of addresses that are left out, and are back.
        resolver: Resolves names.
        tls: What connections to https servers use; None if there is no such server.

    Attributes:
        tls: As above; it may be replaced.
    """

    __slots__ = ("_addresses", "_coalescer", "_left_out", "_loop", "_observer", "_resolver", "_upstream", "tls")

    def __init__(
        self,
        upstream: Upstream,
        loop: asyncio.AbstractEventLoop,
        coalescer: WriteCoalescer,
        observer: RequestObserver,
        resolver: Resolver,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._upstream = upstream
        self._loop = loop
        self._coalescer = coalescer
        self._observer = observer
        self._resolver = resolver
        self.tls = tls
        self._addresses: dict[Origin, Sequence[str]] = {}  # as last resolved
        self._left_out: dict[tuple[Origin, str], UpstreamServer] = {}

    async def connect(self, origin: Origin) -> UpstreamConnection:
        """A new connection.

        Raises:
            ForwardError: the server cannot be reached, or not in time.
        """
        pending, reason = "was not looked up", FailureReason.UNRESOLVED
        await ensure_task()
        try:
            async with asyncio.timeout(self._upstream.connect_timeout):
                hosts = [origin.socket] if origin.socket else self._in_order(origin, await self._resolve(origin))
                pending, reason = "did not accept a connection", FailureReason.CONNECT_TIMEOUT
                return await race(hosts, partial(self._connect_to, origin), partial(self._failed, origin))
        except TimeoutError:
            raise ForwardError(f"{origin} {pending} in time", GATEWAY_TIMEOUT, reason=reason) from None
        except OSError as error:
            raise ForwardError(f"{origin} cannot be reached: {error}", reason=reason_of(error)) from error

    async def probe(self, origin: Origin) -> None:
        """See whether a server works, over a connection of its own.

        Raises:
            ForwardError: it does not.
        """
        await self._ask(await self.connect(origin))

    def leave_out(self, origin: Origin, host: str, error: ForwardError) -> bool:
        """Try an address of a name last from now on. Returns whether the name has another one that works."""
        hosts = self._addresses.get(origin, ())
        if len(hosts) < 2 or not self._upstream.eject_time:  # noqa: PLR2004 - another one
            return False
        key = (origin, host)
        if key not in self._left_out:
            server = self._left_out[key] = UpstreamServer(origin, self._upstream.eject_time)
            server.leave_out(self._loop, partial(self._probe_address, host), partial(self._back, key))
            reason = (error.reason or FailureReason.UNREACHABLE).value
            self._observer.server_left_out(self._upstream.name, f"{origin} at {host}", reason, str(error))
        return any((origin, other) not in self._left_out for other in hosts)

    def close(self) -> None:
        """Probe no more."""
        for server in self._left_out.values():
            server.close()

    async def _resolve(self, origin: Origin) -> Sequence[str]:
        hosts = self._addresses[origin] = await self._resolver.resolve(origin.host)
        return hosts

    def _in_order(self, origin: Origin, hosts: Sequence[str]) -> Sequence[str]:
        return sorted(hosts, key=lambda host: (origin, host) in self._left_out) if self._left_out else hosts

    def _failed(self, origin: Origin, host: str, error: OSError) -> None:
        """An address failed, or was slow, while another one accepted a connection."""
        self.leave_out(origin, host, ForwardError(f"{host} cannot be reached: {error}", reason=reason_of(error)))

    def _back(self, key: tuple[Origin, str], seconds: float) -> None:
        self._left_out.pop(key)
        self._observer.server_back(self._upstream.name, f"{key[0]} at {key[1]}", seconds)

    async def _probe_address(self, host: str, origin: Origin) -> None:
        async with asyncio.timeout(self._upstream.connect_timeout):
            connection = await self._connect_to(origin, host)
        await self._ask(connection)

    async def _ask(self, connection: UpstreamConnection) -> None:
        try:
            if (health := self._upstream.health) is not None:
                await check_health(connection, health.path, health.timeout)
            else:
                await request_anything(connection, self._upstream.head_timeout)
        finally:
            connection.abort()

    async def _connect_to(self, origin: Origin, host: str) -> UpstreamConnection:
        connection = UpstreamConnection(origin, self._loop, self._coalescer, host)
        made: Callable[[], UpstreamConnection] = lambda: connection  # noqa: E731
        if origin.socket:
            await self._connect_to_socket(made, host)
        elif self.tls is None or origin.scheme == "http":
            await self._loop.create_connection(made, host, origin.port)
        else:
            connection.tls = self.tls
            tls = TlsTransport(connection, self.tls, self._upstream.tls.server_name or origin.host.removesuffix("."))
            await self._loop.create_connection(lambda: tls, host, origin.port)
            await tls.handshake()
        return connection

    async def _connect_to_socket(self, made: Callable[[], UpstreamConnection], path: str) -> None:
        """Connect to a Unix socket, which is done at once, or fails.

        If the backlog of the upstream is full, try again, as the kernel does for TCP. asyncio would take that error for
        a connection that is under way.
        """
        opened = socket(AF_UNIX)
        try:
            opened.setblocking(False)
            while not _connects(opened, path):  # noqa: ASYNC110 - nothing says when it has room
                await asyncio.sleep(_SOCKET_RETRY)
            await self._loop.create_unix_connection(made, sock=opened)
        except BaseException:
            opened.close()
            raise


def _connects(opened: socket, path: str) -> bool:
    """Connect to a Unix socket. False if its backlog is full."""
    try:
        opened.connect(path)
    except BlockingIOError:
        return False
    return True
