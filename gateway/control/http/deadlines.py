"""`Deadlines`: closes connections to the control plane that keep it waiting. aiohttp's server would wait for ever.

A request's head has `head_timeout` from its first byte to its last, and a connection may wait `idle_timeout` for its
next request; the last response has to be read in that time. A body has `body_timeout`: see `read_json_body`. A TLS
handshake has `head_timeout`.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.settings.intake import Intake

_REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Deadlines:
    """Makes connections that have deadlines.

    Args:
        intake: Their lengths.

    Attributes:
        handshake: Seconds that a TLS handshake may take, and the closing of one.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._connections: dict[asyncio.Protocol, _Connection] = {}
        self.handshake = intake.head_timeout

    def wrap(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """A factory of protocols that have deadlines, from aiohttp's factory."""

        def make_with_deadlines() -> asyncio.Protocol:
            handler = make()
            connection = _Connection(handler, self._intake, lambda: self._connections.pop(handler))
            self._connections[handler] = connection
            return connection

        return make_with_deadlines

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request: its head is complete."""
        connection = self._connections.get(request.protocol)
        if connection is None:  # the client is gone
            return await handler(request)
        connection.begin(request)
        try:
            return await handler(request)
        finally:
            connection.end()


class _Connection(asyncio.Protocol):
    """Stands before one of aiohttp's protocols; `lost` is called when the connection is lost."""

    def __init__(self, handler: asyncio.Protocol, intake: Intake, lost: Callable[[], object]) -> None:
        self._handler = handler
        self._intake = intake
        self._lost = lost
        self._request: web.Request | None = None  # the last one
        self._handling = False
        self._in_head = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, request: web.Request) -> None:
        """The head of a request is complete."""
        self._request = request
        self._handling, self._in_head = True, False
        self._stop()

    def end(self) -> None:
        """The request has been handled; the response is sent next."""
        self._handling = False
        self._set(self._intake.head_timeout if self._in_head else self._intake.idle_timeout)

    def _set(self, seconds: float) -> None:
        self._stop()
        if self._transport is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._in_head and not transport.is_closing() and not transport.get_write_buffer_size():
            transport.write(_REQUEST_TIMEOUT)
        if transport.is_closing():
            transport.abort()
        else:
            transport.close()
            self._set(self._intake.head_timeout)  # to take what is still to be sent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # asyncio hands over a Transport
        self._handler.connection_made(transport)
        self._set(self._intake.idle_timeout)

    def data_received(self, data: bytes) -> None:
        body_is_over = self._request is None or self._request.content.is_eof()
        if body_is_over and not self._in_head:  # else it is of a body, perhaps of one that nobody reads
            self._in_head = True
            if not self._handling:
                self._set(self._intake.head_timeout)
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._transport = None
        self._handler.connection_lost(exc)
        self._lost()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()
