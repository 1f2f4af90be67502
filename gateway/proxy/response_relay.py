"""`ResponseRelay`: passes an upstream's response on to the client."""

import asyncio
import re
from functools import lru_cache
from typing import Final

from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import response_lines
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError, Framing, RawHeaders

_NO_CONTENT: Final = 204
_REASON: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_SWITCHING: Final = 101


class ResponseRelay:
    """Writes a response to the client as it comes, in a framing that the client understands.

    Args:
        exchange: Has the client to write to.
        connection: The connection to the upstream.
        loop: The event loop.
        keep_rate_limits: Whether the upstream's own rate-limit headers reach the client.

    Attributes:
        done: Done when the response is complete, or failed with a `ForwardError`. The result is whether the connection
            has been switched to another protocol.
        closed: Done when the switched connection is closed; None if it was not switched.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_exchange",
        "_is_http11",
        "_keep_rate_limits",
        "_out",
        "_status",
        "closed",
        "done",
    )

    def __init__(
        self,
        exchange: Exchange,
        connection: UpstreamConnection,
        loop: asyncio.AbstractEventLoop,
        *,
        keep_rate_limits: bool,
    ) -> None:
        self._exchange = exchange
        self._connection = connection
        self._keep_rate_limits = keep_rate_limits
        self._is_http11 = exchange.message.is_http11
        self._chunked = False
        self._out: list[bytes] = []
        self.done: asyncio.Future[bool] = loop.create_future()
        self.closed: asyncio.Future[None] | None = None
        self._status = 0

    def interim(self, status: int, reason: bytes, headers: RawHeaders) -> None:
        """Pass on 100 Continue and 103 Early Hints to clients that support them (RFC 9110 section 15.2)."""
        if self._is_http11:
            if self._exchange.meter is not None:
                headers = self._exchange.meter.visible(headers)
            lines, _, _ = response_lines(headers, status, keep_rate_limits=self._keep_rate_limits)
            self._out.append(b"\r\n".join([_status_line(status, reason), *lines, b"", b""]))

    def head(self, status: int, reason: bytes, headers: RawHeaders, framing: Framing, length: bytes) -> None:
        """Pass on the head, with the framing for the client."""
        self._status = status
        if self._exchange.meter is not None:
            headers = self._exchange.meter.read_head(headers)
        exchange, connection = self._exchange, self._connection
        lines = [_status_line(status, reason)]
        forwarded, authenticates, is_named = response_lines(headers, status, keep_rate_limits=self._keep_rate_limits)
        lines += forwarded
        if exchange.id_line and not is_named:
            lines.append(exchange.id_line[:-2])
        if authenticates:
            connection.authenticated = True
        if status == _SWITCHING:
            lines += [
                b"Connection: upgrade",
                *(b"Upgrade: " + value for name, value in headers if name.lower() == b"upgrade"),
            ]
        elif framing is Framing.CHUNKED or framing is Framing.CLOSE:
            self._delimit(lines)
        elif length and status != _NO_CONTENT:
            lines.append(b"Content-Length: " + length)
        if not exchange.body.is_eof():
            exchange.decide_keep_alive(body_is_taken=connection.reusable and connection.open)
        if connection.authenticated and not connection.reusable and exchange.pins_connections:
            exchange.keep_alive = False  # the client assumes that this connection is authenticated
        if not exchange.keep_alive and status != _SWITCHING:
            lines.append(b"Connection: close")
        lines.append(b"\r\n")
        self._out.append(b"\r\n".join(lines))

    def _delimit(self, lines: list[bytes]) -> None:
        """Show the client where a body ends whose length is not known."""
        if self._is_http11:
            self._chunked = True
            lines.append(b"Transfer-Encoding: chunked")
        else:
            self._exchange.keep_alive = False
            self._exchange.until_close = True

    def piece(self, data: bytes) -> None:
        """Pass on a piece of the body."""
        if self._exchange.meter is not None and self._exchange.client.connected:
            self._exchange.meter.size += len(data)
        if self._chunked:
            self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._out.append(data)

    def flush(self) -> None:
        """Send what has come so far, in one write."""
        out = self._out
        if out:
            self._out = []
            self._exchange.status = self._status
            self._exchange.write(out[0] if len(out) == 1 else b"".join(out))

    def upgraded(self) -> None:
        """The response was a 101; bytes of another protocol follow."""
        self.flush()
        self.closed = self.done.get_loop().create_future()
        self.done.set_result(True)

    def end(self) -> None:
        """The response is complete."""
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        self.flush()
        if self.closed is None:
            self.done.set_result(False)
        else:
            self.closed.set_result(None)

    def fail(self, error: ForwardError) -> None:
        """There is no response, or it is incomplete. Ignored if whoever waited for it was cancelled."""
        self._out = []
        if self.closed is None:
            if not self.done.cancelled():
                self.done.set_exception(error)
        elif not self.closed.cancelled():
            self.closed.set_result(None)


@lru_cache(maxsize=64)
def _status_line(status: int, reason: bytes) -> bytes:
    """The status line of a response (RFC 9112 section 4), with an empty reason phrase if it has control bytes."""
    return b"HTTP/1.1 %d %b" % (status, reason if _REASON.fullmatch(reason) else b"")
