"""`UpstreamConnection`: a connection to an upstream, with one exchange at a time.

A connection calls its `ResponseReader` as a response comes in. It can be used again if the response is complete, keeps
to its framing, and leaves the connection open. Anything else (unsolicited bytes, a malformed head, an early end) closes
the connection, so that no response can run into the next one.

The head of a response has until its deadline, however many bytes of it, or interim responses, come before. After it,
only content moves the deadline: an upstream that sends chunk extensions or trailers byte by byte holds nobody up.
"""

import asyncio
from collections.abc import Callable
from ssl import SSLContext
from typing import Final

from gateway.loop.resettable_timer import ResettableTimer
from gateway.proxy.failure_reason import FailureReason, reason_of
from gateway.proxy.response_parser import ResponseParser
from gateway.proxy.responses import GATEWAY_TIMEOUT
from gateway.proxy.unread import read_unread
from gateway.proxy.upstream_response import ForwardError, ResponseReader
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.url import Origin

_CLOSE_TIMEOUT: Final = 30.0
"""Seconds for an upstream to read the last bytes of a tunnel and close its half."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to an upstream.

    Args:
        origin: The address it leads to.
        loop: The event loop.
        coalescer: Carries out writes.
        host: The address of its name to which it leads.

    Attributes:
        host: As above.
        origin: As above.
        made: When it was made, by the loop's clock.
        closing: Whether it is a tunnel that is sending its last bytes.
        authenticated: Whether it may be authenticated, which would give its rights to the next request; see
            `pinned_connections`.
        tls: The certificates with which it was made; None for plain HTTP.
        on_pause: Called with True when the write buffer is full, and with False when there is room again. Set by a
            writer that does not wait for `drain`.
    """

    def __init__(
        self, origin: Origin, loop: asyncio.AbstractEventLoop, coalescer: WriteCoalescer, host: str = ""
    ) -> None:
        self.origin = origin
        self.host = host
        self.made = loop.time()
        self._loop = loop
        self._coalescer = coalescer
        self._parser = ResponseParser()
        self._transport: asyncio.Transport | None = None
        self._deadline = ResettableTimer(loop, self._expire)
        self._idle_timeout = 0.0
        self._left = 0.0  # seconds for the head, while reading is paused
        self._drained: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._used = False
        self._reading_paused = False
        self.closing = False
        self.authenticated = False
        self.tls: SSLContext | None = None
        self.on_pause: Callable[[bool], None] | None = None

    # Called by the users of the connection.

    @property
    def reusable(self) -> bool:
        """Whether it can carry another request once this response is complete."""
        return self._parser.reusable

    @reusable.setter
    def reusable(self, reusable: bool) -> None:
        self._parser.reusable = reusable

    @property
    def keep_alive(self) -> int | None:
        """Seconds for which the upstream keeps the connection while it is idle, if it said so."""
        return self._parser.keep_alive

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
        self._deadline.clear()  # it is not idle any more, and a request's body may take longer than that
        self._parser.start(method, reader, may_switch=may_switch)
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
            raise ForwardError("the upstream closed the connection", reason=FailureReason.CLOSED)
        if self._writing_paused:
            self._drained = self._loop.create_future()
            await self._drained

    def expect(self, head: float, idle: float) -> None:
        """Wait for the response: `head` seconds for its whole head, then `idle` seconds between two pieces of its body.

        If the head has come already, only `idle` counts.
        """
        self._idle_timeout = idle
        seconds = idle if self._parser.in_body else head
        if self._reading_paused:
            self._left = seconds
        else:
            self._deadline.set(seconds)

    def pause(self, paused: bool) -> None:
        """Pause reading while the client is slow, or resume it."""
        if self._transport is None or paused is self._reading_paused:
            return
        self._reading_paused = paused
        if paused:
            self._transport.pause_reading()
            self._left = self._deadline.stop()  # now the client's timeout counts
        else:
            self._transport.resume_reading()
            if self._idle_timeout:
                self._deadline.set(self._idle_timeout if self._parser.in_body else self._left)

    def hang_up(self, error: ForwardError) -> None:
        """End the exchange with an error, and close the connection."""
        error.origin, error.host = self.origin, self.host
        reader, self._parser.reader = self._parser.reader, None
        self.close()
        if reader is not None:
            reader.fail(error)

    def release(self) -> None:
        """Make the connection ready for the next request."""
        self.pause(paused=False)
        self.on_pause = None
        self._parser.reader = None
        self._stop_waiting()
        self._used = True

    def close(self) -> None:
        """Close at once, or after the last bytes of a tunnel."""
        self.reusable = False
        if self._parser.switched and self._transport is not None:
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
        elif self._parser.reader is None:
            self.close()
        elif self._parser.in_body:
            message = "the upstream stopped in the middle of its response"
            self.hang_up(ForwardError(message, GATEWAY_TIMEOUT, reason=FailureReason.IDLE_TIMEOUT))
        else:
            message = "the upstream did not send the head of its response in time"
            self.hang_up(ForwardError(message, GATEWAY_TIMEOUT, reason=FailureReason.HEAD_TIMEOUT))

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # asyncio hands over a Transport

    def data_received(self, data: bytes) -> None:
        if self._parser.reader is None:
            if not self.closing:
                self.close()  # unsolicited bytes
            return
        parser = self._parser
        try:
            if parser.feed(data):
                self._stop_waiting()
            elif parser.progressed and self._idle_timeout and not self._reading_paused:
                self._deadline.set(self._idle_timeout)
        except ForwardError as error:
            self.hang_up(error)

    def _stop_waiting(self) -> None:
        self._idle_timeout = 0.0
        self._deadline.clear()

    def eof_received(self) -> None:
        """The upstream has closed its half: the end of a tunnel, or of a response without any other framing.

        Such a response is truncated if the connection is lost without this. asyncio closes the transport afterwards.
        """
        if self._parser.feed_eof():
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        transport, self._transport = self._transport, None
        if exc is not None and transport is not None and self.origin.scheme == "http":
            self._parse_unread(transport, exc)
        self.reusable = False
        self._deadline.cancel()
        if self._drained is not None and not self._drained.done():
            closed = ForwardError("the upstream closed the connection", reason=reason_of(exc))
            self._drained.set_exception(closed)
            self._drained.exception()
        if self._parser.reader is not None:
            why = "the upstream closed the connection" + (f": {exc}" if exc else "")
            replayable = self._parser.nothing_received and self._used
            self.hang_up(ForwardError(why, reason=reason_of(exc), replayable=replayable))

    def _parse_unread(self, transport: asyncio.Transport, exc: Exception) -> None:
        """A failed write closes a transport at once, but the upstream may have responded before it closed."""
        if self._parser.reader is not None:
            for data in read_unread(transport):
                if self._parser.reader is not None:
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
