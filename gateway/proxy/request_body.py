"""`BodyUpload`: a request's body on its way to the upstream."""

import asyncio

from aiohttp import web

from gateway.limiter.verdict import Outcome
from gateway.proxy.exchange import Exchange
from gateway.proxy.min_data_rate import MinDataRate
from gateway.proxy.observer import RequestObserver
from gateway.proxy.responses import BAD_REQUEST, CONTENT_TOO_LARGE, GATEWAY_TIMEOUT, REQUEST_TIMEOUT
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError
from gateway.settings.upstream import Upstream

_MOMENT = 1.0
"""Seconds in which an upstream that has answered has to take a piece of the body."""


class BodyUpload:
    """Sends a request's body as it comes, as fast as the upstream takes it.

    A body that is too large, too slow or broken ends the exchange, and the upstream sees no whole request. If the
    answer is complete before the body is, the upstream gets the rest of it, too, for as long as it takes it.

    Args:
        exchange: Whose body.
        connection: Where it goes.
        upstream: How long the upstream may take.
        max_body: Bytes that are passed on at most.
        observer: Is told why a body was cut off.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_draining",
        "_exchange",
        "_left",
        "_most",
        "_observer",
        "_patience",
        "_upstream",
    )

    def __init__(
        self,
        exchange: Exchange,
        connection: UpstreamConnection,
        upstream: Upstream,
        max_body: int,
        observer: RequestObserver,
    ) -> None:
        intake = exchange.client.intake
        self._exchange = exchange
        self._connection = connection
        self._upstream = upstream
        self._left = max_body
        self._most = upstream.idle_timeout
        self._draining: asyncio.Timeout | None = None
        self._observer = observer
        self._chunked = exchange.message.chunked
        self._patience = MinDataRate(asyncio.get_running_loop().time, intake.body_timeout, intake.least_rate)

    async def run(self) -> None:
        """Send all of it, and wait for the answer from then on."""
        connection, upstream = self._connection, self._upstream
        try:
            while data := await self._read():
                connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
                await self._drain()
        except ForwardError as error:
            if error.outcome is Outcome.BAD_REQUEST:
                self._exchange.keep_alive = False
            connection.hang_up(error)
        else:
            if self._chunked:
                connection.write(b"0\r\n\r\n")
            connection.expect(upstream.head_timeout, upstream.idle_timeout)

    def hurry(self) -> None:
        """The answer is complete: an upstream that takes nothing for a moment now will take no more."""
        self._most = _MOMENT
        if self._draining is not None:
            self._draining.reschedule(asyncio.get_running_loop().time() + _MOMENT)

    async def _read(self) -> bytes:
        """The next piece; nothing at the end."""
        try:
            async with asyncio.timeout(self._patience.begin()):
                data = await self._exchange.body.readany()
        except TimeoutError:
            self._observer.rejected("slow_body")
            raise ForwardError(
                "the client stalls in the request's body", REQUEST_TIMEOUT, Outcome.BAD_REQUEST
            ) from None
        except (web.RequestPayloadError, OSError, RuntimeError) as error:
            raise ForwardError("the request's body is broken", BAD_REQUEST, Outcome.BAD_REQUEST) from error
        self._patience.end(len(data))
        self._left -= len(data)
        if self._left < 0:
            self._observer.rejected("large_body")
            raise ForwardError("the request's body is too large", CONTENT_TOO_LARGE, Outcome.BAD_REQUEST)
        return data

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._most) as self._draining:
                await self._connection.drain()
        except TimeoutError:
            raise ForwardError("the upstream does not take the request's body", GATEWAY_TIMEOUT) from None
        finally:
            self._draining = None
