"""Forwarding: one request to an upstream, and its answer back, both streamed."""

import asyncio
from collections.abc import Mapping
from time import perf_counter

from aiohttp import EMPTY_PAYLOAD

from gateway.limiter.verdict import Outcome
from gateway.proxy.exchange import Exchange
from gateway.proxy.observer import RequestObserver
from gateway.proxy.pool import Pool
from gateway.proxy.request import RequestHead
from gateway.proxy.request_body import BodyUpload
from gateway.proxy.resolver import Resolver
from gateway.proxy.response_relay import ResponseRelay
from gateway.proxy.tunnel import Tunnel
from gateway.proxy.upstream_response import ForwardError
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.dns import Dns
from gateway.settings.upstream import Upstream

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that may be repeated (RFC 9110 section 9.2.2); TRACE is not forwarded."""


class Forwarder:
    """Forwards requests to upstreams.

    Args:
        upstreams: By name.
        observer: Is told how long they took.
        dns: How their names become addresses.
        keep_rate_limits: Whether an upstream's own rate-limit fields reach the client.
    """

    __slots__ = ("_keep_rate_limits", "_observer", "_pools", "_resolver")

    def __init__(
        self, upstreams: Mapping[str, Upstream], observer: RequestObserver, dns: Dns, *, keep_rate_limits: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        outbox = WriteCoalescer(loop)
        resolver = self._resolver = Resolver(dns, loop, observer)
        self._pools = {name: Pool(upstream, loop, outbox, observer, resolver) for name, upstream in upstreams.items()}
        self._observer = observer
        self._keep_rate_limits = keep_rate_limits

    def close(self) -> None:
        """Close all connections to upstreams that are free."""
        self._resolver.close()
        for pool in self._pools.values():
            pool.close()

    async def forward(self, exchange: Exchange, head: RequestHead, name: str, max_body: int) -> Outcome:
        """Forward a request to the upstream called `name`, and its answer back.

        What goes wrong ends here: as an answer of our own if the upstream's has not begun, else as a connection broken
        off, so that half an answer is not taken for a whole one.
        """
        pool = self._pools[name]
        began = perf_counter()
        try:
            try:
                await self._attempt(exchange, head, pool, max_body)
            except ForwardError as error:
                repeatable = head.method in _IDEMPOTENT and exchange.body is EMPTY_PAYLOAD
                if not (error.replayable and repeatable):
                    raise
                await self._attempt(exchange, head, pool, max_body, fresh=True)
        except ForwardError as error:
            if exchange.status:
                exchange.abort()
            else:
                exchange.answer(error.answer)
            return error.outcome
        self._observer.upstream_took(name, perf_counter() - began)
        return Outcome.ALLOWED

    async def _attempt(
        self, exchange: Exchange, head: RequestHead, pool: Pool, max_body: int, *, fresh: bool = False
    ) -> None:
        connection = await pool.take(fresh=fresh)
        upstream, client, body = pool.upstream, exchange.client, exchange.body
        upload: asyncio.Task[None] | None = None
        exchange.on_gone = lambda: connection.hang_up(ForwardError("the client is gone", outcome=Outcome.CLIENT_GONE))
        client.on_pause = connection.pause
        try:
            relay = ResponseRelay(exchange, keep_rate_limits=self._keep_rate_limits)
            first = head.to(upstream, connection.origin)
            connection.pause(client.writing_paused)
            connection.start(head.method, first, relay, may_switch=head.wants_websocket)
            if body is EMPTY_PAYLOAD:
                connection.expect(upstream.head_timeout, upstream.idle_timeout)
            else:
                upload = asyncio.create_task(BodyUpload(exchange, connection, upstream, max_body, self._observer).run())
            switched = await relay.done
            if switched and relay.closed is not None:
                Tunnel(client, connection, upstream.tunnel_timeout)
                await relay.closed
                exchange.keep_alive = False
        except BaseException:
            connection.reusable = False  # an answer may still come, and nobody waits for it
            raise
        finally:
            exchange.on_gone = None
            client.on_pause = None
            client.on_eof = None
            if upload is not None and not upload.done():
                upload.cancel()
                connection.reusable = False
            pool.give_back(connection)
