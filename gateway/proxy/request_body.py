"""Request bodies: `BodyUpload` sends one to the upstream, `discard_rest` discards what nobody has read of one."""

import asyncio

from aiohttp import StreamReader, web

from gateway.limiter.verdict import Outcome
from gateway.loop.eager_run import ensure_task
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.exchange import Exchange
from gateway.proxy.failure_reason import FailureReason
from gateway.proxy.min_data_rate import MinDataRate
from gateway.proxy.observer import RequestObserver
from gateway.proxy.responses import CONTENT_TOO_LARGE, GATEWAY_TIMEOUT
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError
from gateway.settings.intake import Intake
from gateway.settings.upstream import Upstream

_LATE_TIMEOUT = 1.0
"""Seconds for the upstream to read more of the body after its response is complete."""


class BodyUpload:
    """Sends a request's body as it comes, as fast as the upstream reads it.

    A body that is too large, too slow or malformed ends the exchange, and the upstream sees no complete request. If the
    response is complete before the body is, the upstream still gets the rest for as long as it reads it.

    Args:
        exchange: The exchange with the body.
        connection: The connection to the upstream.
        upstream: Its settings, for the timeouts.
        max_body: The largest body to forward, in bytes.
        observer: Notified when a body is rejected.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_draining",
        "_exchange",
        "_left",
        "_observer",
        "_rate",
        "_timeout",
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
        self._timeout = upstream.idle_timeout
        self._draining: asyncio.Timeout | None = None
        self._observer = observer
        self._chunked = exchange.message.chunked
        self._rate = MinDataRate(asyncio.get_running_loop().time, intake.body_timeout, intake.least_rate)

    async def run(self) -> None:
        """Send the body, and wait for the response from then on."""
        connection, upstream, requests = self._connection, self._upstream, self._exchange.client.requests
        connection.on_pause = requests.hold
        try:
            while data := await self._read():
                connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
                await self._drain()
        except ForwardError as error:
            # A response that is complete may have promised that the connection goes on: then the rest of a body that is
            # too large is discarded, within the limits for that.
            if error.outcome is Outcome.BAD_REQUEST and error.response is not CONTENT_TOO_LARGE:
                self._exchange.keep_alive = False
            connection.hang_up(error)
        else:
            if self._chunked:
                connection.write(b"0\r\n\r\n")
            connection.expect(upstream.head_timeout, upstream.idle_timeout)
        finally:
            connection.on_pause = None
            requests.hold(held=False)

    def shorten_timeout(self) -> None:
        """The response is complete: an upstream that reads nothing for a second now will read no more."""
        self._timeout = _LATE_TIMEOUT
        if self._draining is not None:
            self._draining.reschedule(asyncio.get_running_loop().time() + _LATE_TIMEOUT)

    async def _read(self) -> bytes:
        """The next piece; empty at the end."""
        try:
            async with asyncio.timeout(self._rate.begin()):
                data = await self._exchange.body.readany()
        except TimeoutError:
            self._observer.rejected("slow_body")
            raise ForwardError(
                "the client stalled while sending the request body", cause=BadRequest.SLOW_BODY
            ) from None
        except (web.RequestPayloadError, OSError) as error:
            raise ForwardError("the request body is malformed", cause=BadRequest.BROKEN_BODY) from error
        self._rate.end(len(data))
        self._left -= len(data)
        if self._left < 0:
            self._observer.rejected("large_body")
            raise ForwardError("the request body is too large", cause=BadRequest.LARGE_BODY)
        return data

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._timeout) as self._draining:
                await self._connection.drain()
        except TimeoutError:
            message = "the upstream did not read the request body in time"
            raise ForwardError(message, GATEWAY_TIMEOUT, reason=FailureReason.IDLE_TIMEOUT) from None
        finally:
            self._draining = None


async def discard_rest(body: StreamReader, intake: Intake, observer: RequestObserver) -> bool:
    """Discard the rest of a body whose request has its response. Returns whether the body is complete.

    This does not wait for the client to read the response: it may not do so before it has sent everything.
    """
    rate = MinDataRate(asyncio.get_running_loop().time, intake.body_timeout, intake.least_rate)
    left = intake.max_discard
    await ensure_task()
    try:
        async with asyncio.timeout(intake.discard_timeout):
            while not body.is_eof() and left >= 0:
                async with asyncio.timeout(rate.begin()):
                    size = len(await body.readany())
                rate.end(size)
                left -= size
    except TimeoutError:
        observer.rejected("slow_body")
    except (web.RequestPayloadError, OSError):
        return False  # it is malformed, or the connection is lost
    if left < 0:
        observer.rejected("large_body")
    return body.is_eof()
