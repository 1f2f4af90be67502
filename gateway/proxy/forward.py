"""`Forwarder`: sends a request to an upstream and its response back to the client, both streamed."""

import asyncio
from collections.abc import Mapping, Sequence
from ssl import SSLContext
from time import perf_counter
from typing import Final

from aiohttp import EMPTY_PAYLOAD

from gateway.config.certificates import Certificates, Name
from gateway.limiter.verdict import Outcome
from gateway.proxy.allowed import Allowed
from gateway.proxy.exchange import Exchange
from gateway.proxy.failure_reason import FailureReason
from gateway.proxy.meter import Meter
from gateway.proxy.observer import RequestObserver
from gateway.proxy.pinned_connections import PinnedConnections
from gateway.proxy.pool import Pool
from gateway.proxy.request import RequestHead
from gateway.proxy.request_body import BodyUpload
from gateway.proxy.resolver import Resolver
from gateway.proxy.response_relay import ResponseRelay
from gateway.proxy.tunnel import Tunnel
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.dns import Dns
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that may be retried (RFC 9110 section 9.2.2); TRACE is not forwarded."""


class Forwarder:
    """Forwards requests to upstreams.

    Args:
        upstreams: By name.
        observer: Receives how long upstreams took, and what went wrong.
        dns: How their names are resolved.
        keep_rate_limits: Whether an upstream's own rate-limit headers reach the client.
        tls: What connections to https upstreams use, by their names; made of the settings if it is not given.
    """

    __slots__ = ("_keep_rate_limits", "_loop", "_observer", "_pools", "_resolver")

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        observer: RequestObserver,
        dns: Dns,
        *,
        keep_rate_limits: bool,
        tls: Mapping[Name, SSLContext] | None = None,
    ) -> None:
        loop = self._loop = asyncio.get_running_loop()
        coalescer = WriteCoalescer(loop)
        resolver = self._resolver = Resolver(dns, loop, observer)
        contexts = tls or {}
        self._pools = {
            name: Pool(upstream, loop, coalescer, observer, resolver, contexts.get(name))
            for name, upstream in upstreams.items()
        }
        self._observer = observer
        self._keep_rate_limits = keep_rate_limits

    def use(self, certificates: Certificates) -> None:
        """Use other certificates for new connections, and close the old ones when they are idle."""
        for name, pool in self._pools.items():
            if (tls := certificates.contexts.get(name)) is not None:
                pool.use(tls)

    def close(self) -> None:
        """Close all idle connections to upstreams."""
        self._resolver.close()
        for pool in self._pools.values():
            pool.close()

    async def forward(self, exchange: Exchange, allowed: Allowed) -> Outcome:
        """Forward a request to the upstream of its endpoint, and its response back.

        A failure ends here: with a response of the gateway's own if the upstream's has not begun, else by aborting the
        connection, so that a truncated response is not taken for a complete one.
        """
        head, name, max_body = allowed.head, allowed.endpoint.upstream, allowed.max_body
        pool = self._pools[name]
        if allowed.endpoint.measured_cost is not None:
            exchange.meter = Meter(allowed.endpoint.measured_cost)
        began = perf_counter()
        failure: ForwardError | None = None
        completed = 0.0
        try:
            completed = await self._attempt(exchange, head, pool, max_body)
        except ForwardError as error:
            failure = error
        try:
            if failure is not None:
                completed = await self._retry(exchange, head, pool, max_body, failure)
        except ForwardError as error:
            self._report(name, error)
            exchange.reason = error.label
            if exchange.status:
                exchange.abort()
            else:
                exchange.respond(error.response)
            return error.outcome
        self._observer.upstream_took(name, completed - began)
        return Outcome.ALLOWED

    async def _retry(
        self, exchange: Exchange, head: RequestHead, pool: Pool, max_body: int, error: ForwardError
    ) -> float:
        """Forward a request again that failed, to each server once at most, or raise the last failure.

        It must be one that may be repeated, and no response may have begun. A server that breaks off in the middle of a
        response has failed all the same.
        """
        repeatable = head.method in _IDEMPOTENT and exchange.body is EMPTY_PAYLOAD
        failed: list[Origin] = []
        fresh = False
        while True:
            if repeatable and error.replayable and not fresh:
                fresh = True
            elif error.origin is None or error.reason is None:
                raise error
            elif exchange.status:
                if error.reason is not FailureReason.IDLE_TIMEOUT:  # some streams are silent for long
                    pool.failed(error)
                raise error
            elif not error.replayable and pool.failed(error) and repeatable:
                self._report(pool.upstream.name, error)  # go on with another address of the same name
            else:
                failed.append(error.origin)
                if not repeatable or len(failed) == len(pool.upstream.urls):
                    raise error
                self._report(pool.upstream.name, error)
            try:
                return await self._attempt(exchange, head, pool, max_body, fresh=fresh, but=failed)
            except ForwardError as another:
                error = another

    def _report(self, upstream: str, error: ForwardError) -> None:
        if error.reason is not None and (error.origin is not None or error.reason is FailureReason.BUSY):
            self._observer.upstream_failed(upstream, str(error.origin or ""), error.reason.value, str(error))

    async def _attempt(
        self,
        exchange: Exchange,
        head: RequestHead,
        pool: Pool,
        max_body: int,
        *,
        fresh: bool = False,
        but: Sequence[Origin] = (),
    ) -> float:
        if head.authenticates_connection or exchange.client.pinned is not None:
            connection = await self._take_pinned(exchange, head, pool, fresh=fresh, but=but)
        else:
            connection = await pool.take(fresh=fresh, but=but)
        upstream, client, body = pool.upstream, exchange.client, exchange.body
        upload: BodyUpload | None = None
        uploading: asyncio.Task[None] | None = None
        completed = 0.0
        failure: BaseException | None = None
        exchange.on_gone = lambda: connection.hang_up(ForwardError("the client is gone", outcome=Outcome.CLIENT_GONE))
        client.on_pause = connection.pause
        try:
            relay = ResponseRelay(exchange, connection, self._loop, keep_rate_limits=self._keep_rate_limits)
            first = head.encode(upstream, connection.origin)
            connection.pause(client.writing_paused)
            connection.start(head.method, first, relay, may_switch=head.wants_websocket)
            exchange.was_sent = True
            if body is EMPTY_PAYLOAD:
                connection.expect(upstream.head_timeout, upstream.idle_timeout)
            else:
                upload = BodyUpload(exchange, connection, upstream, max_body, self._observer)
                uploading = asyncio.create_task(upload.run())
            switched = await relay.done
            if switched and relay.closed is not None:
                Tunnel(client, connection, upstream.tunnel_timeout)
                await relay.closed
                exchange.keep_alive = False
            completed = perf_counter()
            if upload is not None and uploading is not None and not uploading.done():
                await self._finish_upload(exchange, connection, upload, uploading)
        except BaseException as error:  # noqa: BLE001 - it is raised below: what is compiled may not await here
            connection.reusable = False  # a response may still come
            failure = error
        exchange.on_gone = None
        client.on_pause = None
        client.on_eof = None
        if uploading is not None and not uploading.done():
            uploading.cancel()
            connection.reusable = False
        if connection.authenticated:
            self._pin(exchange, head, pool, connection)
        else:
            pool.give_back(connection)
        if uploading is not None and not uploading.done():
            await asyncio.wait([uploading])  # the client connection reads the rest, and one task at a time may
        if failure is not None:
            raise failure
        return completed

    @staticmethod
    async def _finish_upload(
        exchange: Exchange, connection: UpstreamConnection, upload: BodyUpload, uploading: asyncio.Task[None]
    ) -> None:
        """Send the upstream the rest of a body whose response came early, if it reads it."""
        if connection.reusable and not exchange.withholds_body:
            upload.shorten_timeout()
            await uploading
        if not connection.authenticated:
            connection.reusable = False  # it may have taken the rest for the next request, or stopped reading

    @staticmethod
    async def _take_pinned(
        exchange: Exchange, head: RequestHead, pool: Pool, *, fresh: bool, but: Sequence[Origin]
    ) -> UpstreamConnection:
        """The connection that is pinned to the client connection, or one from the pool."""
        authenticates, pinned = head.authenticates_connection, exchange.client.pinned
        if authenticates and pinned is None:
            exchange.client.pinned = pinned = PinnedConnections()
        if pinned is not None and not pinned.off:
            if head.is_on_a_shared_connection:
                pinned.turn_off()
            elif not fresh and (connection := pinned.take(pool)) is not None:
                return connection
        connection = await pool.take(fresh=fresh, but=but)
        connection.authenticated = authenticates
        return connection

    @staticmethod
    def _pin(exchange: Exchange, head: RequestHead, pool: Pool, connection: UpstreamConnection) -> None:
        """Keep an authenticated connection for its client, or close it."""
        client = exchange.client
        if client.connected and exchange.keep_alive:
            client.pinned = pinned = client.pinned or PinnedConnections()
            if not pinned.off and head.is_on_a_shared_connection:
                pinned.turn_off()
            if not pinned.off:
                pinned.put(pool, connection)
                return
        pool.give_back(connection)
