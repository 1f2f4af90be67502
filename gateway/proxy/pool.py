"""Connections to upstreams: kept alive, shared out, opened anew."""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field

from gateway.config.settings import Origin, Upstream
from gateway.proxy.answers import GATEWAY_TIMEOUT, UNAVAILABLE
from gateway.proxy.outbox import Outbox
from gateway.proxy.reader import ForwardError
from gateway.proxy.upstream import UpstreamConnection


@dataclass(slots=True)
class _Address:
    """One address of an upstream, and the connections to it that are free; the one used last is taken first."""

    origin: Origin
    idle: deque[UpstreamConnection] = field(default_factory=deque)
    left_out_until: float = 0.0


class Pool:
    """Connections to the addresses of one upstream, taken in turn.

    An address that cannot be reached is left out for a while; when all are, they are tried all the same.

    Args:
        upstream: Its addresses, and how long to wait for them.
        loop: Keeps the time.
        outbox: Carries out what is written to it.
    """

    __slots__ = ("_addresses", "_loop", "_next", "_outbox", "_taken", "_tls", "upstream")

    def __init__(self, upstream: Upstream, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self.upstream = upstream
        self._loop = loop
        self._outbox = outbox
        self._addresses = [_Address(origin) for origin in upstream.urls]
        self._next = 0
        self._taken = 0
        self._tls = _trust(upstream) if any(origin.scheme == "https" for origin in upstream.urls) else None

    async def take(self, *, fresh: bool = False) -> tuple[UpstreamConnection, Origin]:
        """A connection that is free; with `fresh`, one that has never been used.

        Raises:
            ForwardError: no address could be reached, or too many connections are in use: requests that wait for a
                slow upstream must not take what others need.
        """
        if self._taken >= self.upstream.max_connections:
            raise ForwardError("too many connections are in use", UNAVAILABLE)
        self._taken += 1
        try:
            return await self._find(fresh=fresh)
        except BaseException:
            self._taken -= 1
            raise

    async def _find(self, *, fresh: bool) -> tuple[UpstreamConnection, Origin]:
        error = ForwardError("the upstream has no address")
        for address in self._in_turn():
            if not fresh:
                while address.idle:
                    connection = address.idle.pop()
                    if connection.open:
                        return connection, address.origin
            try:
                return await self._open(address.origin), address.origin
            except ForwardError as failure:
                address.left_out_until = self._loop.time() + self.upstream.eject_time
                error = failure
        raise error

    def give_back(self, connection: UpstreamConnection, origin: Origin) -> None:
        """Keep a connection for the next request, or close it if it cannot carry one."""
        self._taken -= 1
        connection.release()
        idle = next(address.idle for address in self._addresses if address.origin is origin)
        if not (connection.reusable and connection.open) or len(idle) >= self.upstream.max_idle:
            connection.close()
            return
        connection.expire(self.upstream.keepalive_time)
        idle.append(connection)

    def close(self) -> None:
        """Close all connections that are free."""
        for address in self._addresses:
            while address.idle:
                address.idle.pop().close()

    def _in_turn(self) -> list[_Address]:
        if len(self._addresses) == 1:
            return self._addresses
        start, self._next = self._next, (self._next + 1) % len(self._addresses)
        turn = self._addresses[start:] + self._addresses[:start]
        now = self._loop.time()
        return [a for a in turn if a.left_out_until <= now] + [a for a in turn if a.left_out_until > now]

    async def _open(self, origin: Origin) -> UpstreamConnection:
        try:
            async with asyncio.timeout(self.upstream.connect_timeout):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self._loop, self._outbox),
                    origin.host,
                    origin.port,
                    ssl=self._tls if origin.scheme == "https" else None,
                )
        except TimeoutError:
            raise ForwardError(f"{origin} did not accept a connection in time", GATEWAY_TIMEOUT) from None
        except OSError as error:
            raise ForwardError(f"{origin} cannot be reached: {error}") from error
        return connection


def _trust(upstream: Upstream) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=upstream.ca)
    if not upstream.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
