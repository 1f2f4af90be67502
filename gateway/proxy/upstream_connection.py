"""`UpstreamConnection`: one exchange at a time; responses are parsed by httptools (llhttp, strict).

A connection calls its `ResponseReader` as a response comes in. It can be used again if the response is complete, keeps
to its framing, and leaves the connection open. Anything else (unsolicited bytes, a malformed head, an early end) closes
the connection, so that no response can run into the next one.
"""

import asyncio
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.proxy.deadline import Deadline
from gateway.proxy.responses import GATEWAY_TIMEOUT
from gateway.proxy.unread import read_unread
from gateway.proxy.upstream_response import (
    AmbiguousFramingError,
    ForwardError,
    Framing,
    RawHeaders,
    ResponseReader,
    read_framing,
)
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.url import Origin

_MAX_INTERIM = 16
_MAX_HEADERS = 256
_MAX_OVERHEAD = 65_536
"""Bytes in a row that are not content: of a head, of trailers, of what is between chunks."""

_SWITCHING = 101
_FINAL = 200
_MIN_STATUS, _MAX_STATUS = 100, 599
_NO_CONTENT = 204

_CLOSE_TIMEOUT = 30.0
"""Seconds for an upstream to read the last bytes of a tunnel and close its half."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to an upstream.

    Args:
        origin: The address it leads to.
        loop: The event loop.
        coalescer: Carries out writes.

    Attributes:
        origin: As above.
        reusable: Whether it can carry another request once this response is complete.
        closing: Whether it is a tunnel that is sending its last bytes.
        authenticated: Whether it may be authenticated, which would give its rights to the next request; see
            `pinned_connections`.
        on_pause: Called with True when the write buffer is full, and with False when there is room again. Set by a
            writer that does not wait for `drain`.
    """

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop, coalescer: WriteCoalescer) -> None:
        self.origin = origin
        self._loop = loop
        self._coalescer = coalescer
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._deadline = Deadline(loop, self._expire)
        self._idle_timeout = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._used = False
        self._may_switch = False
        self._tunnel = False
        self._reading_paused = False
        self.reusable = True
        self.closing = False
        self.authenticated = False
        self.on_pause: Callable[[bool], None] | None = None
        self._begin("")

    def _begin(self, method: str) -> None:
        self._method = method
        self._status = 0
        self._reason = b""
        self._headers: RawHeaders = []
        self._framing = Framing.NONE
        self._length = b""
        self._overhead = 0
        self._interim = 0

    # Called by the users of the connection.

    @property
    def open(self) -> bool:
        """Whether bytes can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def start(self, method: str, head: bytes, reader: ResponseReader, *, may_switch: bool = False) -> None:
        """Send a request's head. `reader` gets the response as it comes, and at last one call of `end` or `fail`.

        Args:
            method: Determines whether the response can have a body.
            head: With the empty line that ends it.
            reader: Receives the response.
            may_switch: Whether the request asks to switch to another protocol.
        """
        self._begin(method)
        self._may_switch = may_switch
        self._reader = reader
        self.write(head)

    def write(self, data: bytes) -> None:
        """Send bytes; does nothing if the connection is lost, which the reader has been notified of."""
        if self._transport is not None:
            self._coalescer.write(self._transport, data)

    def write_eof(self) -> None:
        """Close our half after the bytes written so far."""
        self._coalescer.flush()
        transport = self._transport
        if transport is not None and not transport.is_closing():
            try:
                transport.write_eof()
            except OSError:  # the upstream has reset the connection
                transport.abort()

    async def drain(self) -> None:
        """Wait until the write buffer has room.

        Raises:
            ForwardError: the connection is lost.
        """
        if self._transport is None:
            raise ForwardError("the upstream closed the connection")
        if self._writing_paused:
            self._drained = self._loop.create_future()
            await self._drained

    def expect(self, first: float, then: float) -> None:
        """Wait for the response: `first` seconds for the first bytes, and `then` seconds between any two."""
        self._idle_timeout = then
        self._deadline.set(first)

    def pause(self, paused: bool) -> None:
        """Pause reading while the client is slow, or resume it."""
        if self._transport is None or paused is self._reading_paused:
            return
        self._reading_paused = paused
        if paused:
            self._transport.pause_reading()
            self._deadline.clear()  # now the client's timeout counts
        else:
            self._transport.resume_reading()
            if self._idle_timeout:
                self._deadline.set(self._idle_timeout)

    def hang_up(self, error: ForwardError) -> None:
        """End the exchange with an error, and close the connection."""
        self._fail(error)

    def release(self) -> None:
        """Make the connection ready for the next request."""
        self.pause(paused=False)
        self.on_pause = None
        self._reader = None
        self._idle_timeout = 0.0
        self._deadline.clear()
        self._used = True

    def close(self) -> None:
        """Close at once, or after the last bytes of a tunnel."""
        self.reusable = False
        if self._tunnel and self._transport is not None:
            self._deadline.set(_CLOSE_TIMEOUT)
            if not self.closing:
                self._close_gracefully(self._transport)
            return
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.reusable = False
        self._deadline.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _close_gracefully(self, transport: asyncio.Transport) -> None:
        """Close our half and discard what still comes: with unread bytes, close() would reset the connection."""
        self.closing = True
        self.write_eof()
        if not transport.is_closing():
            transport.resume_reading()

    def expire(self, seconds: float) -> None:
        """Close the connection if it is still idle in so many seconds."""
        self._deadline.set(seconds)

    def _expire(self) -> None:
        if self.closing:
            self.abort()
        elif self._reader is None:
            self.close()
        else:
            self._fail(ForwardError("the upstream did not respond in time", GATEWAY_TIMEOUT))

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # asyncio hands over a Transport

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            if not self.closing:
                self.close()  # unsolicited bytes
            return
        if self._idle_timeout:
            self._deadline.set(self._idle_timeout)
        if self._tunnel:
            self._reader.piece(data)
        else:
            self._parse(data)
        if self._reader is not None:
            self._reader.flush()

    def _parse(self, data: bytes) -> None:
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._hand_over(data[upgrade.args[0] :])
        except HttpParserError as error:
            self._fail(ForwardError(f"the upstream's response is malformed: {error}"))
        else:
            if self._overhead > _MAX_OVERHEAD and self._reader is not None:
                self._fail(ForwardError("the head or the trailers of the upstream's response are too large"))

    def _hand_over(self, rest: bytes) -> None:
        if self._status == _SWITCHING and self._reader is not None:
            self._tunnel = True
            self.reusable = False
            self._reader.upgraded()
            if rest:
                self._reader.piece(rest)
        else:
            self._fail(ForwardError("the upstream switched protocols without being asked"))

    def eof_received(self) -> None:
        """The upstream has closed its half: the end of a tunnel, or of a response without any other framing.

        Such a response is truncated if the connection is lost without this. asyncio closes the transport afterwards.
        """
        reader = self._reader
        if reader is not None and (self._tunnel or (self._status >= _FINAL and self._framing is Framing.CLOSE)):
            self.reusable = False
            self._end(reader)

    def connection_lost(self, exc: Exception | None) -> None:
        transport, self._transport = self._transport, None
        if exc is not None and transport is not None and self.origin.scheme == "http":
            self._parse_unread(transport, exc)
        self.reusable = False
        self._deadline.cancel()
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ForwardError("the upstream closed the connection"))
            self._drained.exception()
        if self._reader is not None:
            why = "the upstream closed the connection" + (f": {exc}" if exc else "")
            nothing_came = self._status == 0 and self._overhead == 0
            self._fail(ForwardError(why, replayable=nothing_came and self._used))

    def _parse_unread(self, transport: asyncio.Transport, exc: Exception) -> None:
        """A failed write closes a transport at once, but the upstream may have responded before it closed."""
        if self._reader is not None:
            for data in read_unread(transport):
                if self._reader is not None:
                    self.data_received(data)
            if isinstance(exc, BrokenPipeError):  # the upstream closed its half before the reset
                self.eof_received()

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self.on_pause is not None:
            self.on_pause(True)

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self.on_pause is not None:
            self.on_pause(False)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # Called by httptools.

    def on_message_begin(self) -> None:
        if self._reader is None or self._status >= _FINAL:
            self.reusable = False  # a second response, without a request
        self._status = 0
        self._headers = []

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._headers) >= _MAX_HEADERS:
            raise HttpParserError("too many headers")
        if self._status == 0:
            self._headers.append((name, value))  # later ones are trailers, which are not forwarded

    def on_headers_complete(self) -> None:
        reader = self._reader
        if reader is None:
            return
        status = self._parser.get_status_code()
        headers, reason = self._headers, self._reason
        self._check(status, headers)
        self._headers, self._reason = [], b""
        self._status = status
        if status < _FINAL:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise HttpParserError("too many interim responses")
            if status != _SWITCHING:
                reader.interim(status, reason, headers)
                return
            if not self._may_switch:
                raise HttpParserError("it switches protocols without being asked")
        try:
            self._framing, self._length = read_framing(self._method, status, headers, self._parser.get_http_version())
        except AmbiguousFramingError as error:
            raise HttpParserError(f"{error} is ambiguous") from error
        self.reusable = self._parser.should_keep_alive() and self._framing is not Framing.CLOSE
        if status == _NO_CONTENT and self._length:
            self.reusable = False  # a Content-Length where there is no body
        reader.head(status, reason, headers, self._framing, self._length)
        if self._method == "HEAD" and status >= _FINAL:
            # llhttp would wait for the body that Content-Length announces, so a new parser goes on after this head.
            self._parser = HttpResponseParser(self)
            self._end(reader)

    def _check(self, status: int, headers: RawHeaders) -> None:
        if not _MIN_STATUS <= status <= _MAX_STATUS:
            raise HttpParserError("the status code is invalid")
        if self._overhead > _MAX_OVERHEAD and sum(len(name) + len(value) for name, value in headers) > _MAX_OVERHEAD:
            raise HttpParserError("the head is too large")

    def on_body(self, data: bytes) -> None:
        if self._reader is not None and self._status < _FINAL:
            # llhttp reads one if an unknown 1xx announces it, and the client would take it for the next response.
            raise HttpParserError("an interim response has a body")
        self._overhead = 0
        if self._reader is not None:
            self._reader.piece(data)
        else:
            self.reusable = False  # a body after a response that has none

    def on_message_complete(self) -> None:
        if self._reader is not None and self._status >= _FINAL:
            if not self._parser.should_keep_alive():
                self.reusable = False  # llhttp obeys a Connection trailer, and would parse no more
            self._end(self._reader)

    def _end(self, reader: ResponseReader) -> None:
        self._reader = None
        self._idle_timeout = 0.0
        self._deadline.clear()
        reader.end()

    def _fail(self, error: ForwardError) -> None:
        reader, self._reader = self._reader, None
        self.close()
        if reader is not None:
            reader.fail(error)
