"""The upstream's side: one connection, one exchange at a time, answers read by httptools (llhttp, strict).

A connection calls its `ResponseReader` as a response comes in, and is free again when it is complete, keeps to its
framing, and leaves the connection open. Anything else (bytes nobody asked for, a broken head, an early end) ends the
connection, so that no answer can run over into the next one.
"""

import asyncio
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.proxy.deadline import Deadline
from gateway.proxy.leftover import unread
from gateway.proxy.responses import GATEWAY_TIMEOUT
from gateway.proxy.upstream_response import (
    AmbiguousFramingError,
    ForwardError,
    Framing,
    RawFields,
    ResponseReader,
    read_framing,
)
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.url import Origin

_MOST_INTERIM = 16
_MOST_FIELDS = 256
_MOST_SILENCE = 65_536
"""Bytes that are no content: those of a head, of trailers, of what stands between chunks."""

_SWITCHING = 101
_FINAL = 200
_LEAST, _MOST = 100, 599
_NO_CONTENT = 204

_CLOSE_TIMEOUT = 30.0
"""Seconds for an upstream to take the last bytes of a tunnel and close its side."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to an upstream.

    Args:
        origin: The address it leads to.
        loop: Keeps the time.
        outbox: Carries out what is written.

    Attributes:
        origin: As above.
        reusable: Whether it can carry another request once this answer is complete.
        closing: Whether it is a tunnel that is being closed: its last bytes are still on their way.
        bound: Whether it may be authenticated, so that who uses it next has somebody's rights; see
            `pinned_connections`.
        on_pause: Called with True when the upstream takes bytes more slowly than they come, with False when it has
            caught up. Set by whoever writes without waiting for `drain`.
    """

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop, outbox: WriteCoalescer) -> None:
        self.origin = origin
        self._loop = loop
        self._outbox = outbox
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._deadline = Deadline(loop, self._expire)
        self._patience = 0.0
        self._drained: asyncio.Future[None] | None = None
        self._writing_paused = False
        self._used = False
        self._may_switch = False
        self._tunnel = False
        self._held = False
        self.reusable = True
        self.closing = False
        self.bound = False
        self.on_pause: Callable[[bool], None] | None = None
        self._begin("")

    def _begin(self, method: str) -> None:
        self._method = method
        self._status = 0
        self._reason = b""
        self._fields: RawFields = []
        self._framing = Framing.NONE
        self._length = b""
        self._silence = 0
        self._interim = 0

    # For those who use the connection.

    @property
    def open(self) -> bool:
        """Whether bytes can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def start(self, method: str, head: bytes, reader: ResponseReader, *, may_switch: bool = False) -> None:
        """Send a request's head. `reader` hears of the answer as it comes, and exactly once `end` or `fail`.

        Args:
            method: On which it depends whether the answer has a body.
            head: With the empty line that ends it.
            reader: Takes the answer.
            may_switch: Whether the request asks to switch to another protocol.
        """
        self._begin(method)
        self._may_switch = may_switch
        self._reader = reader
        self.write(head)

    def write(self, data: bytes) -> None:
        """Send bytes; nothing happens when the connection is gone, for the reader has been told."""
        if self._transport is not None:
            self._outbox.post(self._transport, data)

    def write_eof(self) -> None:
        """Close our half behind the bytes written so far."""
        self._outbox.flush()
        transport = self._transport
        if transport is not None and not transport.is_closing():
            try:
                transport.write_eof()
            except OSError:  # the upstream has reset the connection
                transport.abort()

    async def drain(self) -> None:
        """Wait until the upstream takes more bytes.

        Raises:
            ForwardError: the connection is gone.
        """
        if self._transport is None:
            raise ForwardError("the upstream closed the connection")
        if self._writing_paused:
            self._drained = self._loop.create_future()
            await self._drained

    def expect(self, first: float, then: float) -> None:
        """Wait for bytes of the answer, `first` seconds for the first ones and `then` seconds between any two."""
        self._patience = then
        self._deadline.set(first)

    def pause(self, paused: bool) -> None:
        """Hold the answer back while the client catches up, or let it flow again."""
        if self._transport is None or paused is self._held:
            return
        self._held = paused
        if paused:
            self._transport.pause_reading()
            self._deadline.clear()  # the client's patience counts now
        else:
            self._transport.resume_reading()
            if self._patience:
                self._deadline.set(self._patience)

    def hang_up(self, error: ForwardError) -> None:
        """Break off the exchange: its reader is told, the connection is closed."""
        self._fail(error)

    def release(self) -> None:
        """Be free for the next request."""
        self.pause(paused=False)
        self.on_pause = None
        self._reader = None
        self._patience = 0.0
        self._deadline.clear()
        self._used = True

    def close(self) -> None:
        """Close at once, or a tunnel when its last bytes are sent."""
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
        """Close our half and discard what still comes: bytes left unread would make close() reset the connection."""
        self.closing = True
        self.write_eof()
        if not transport.is_closing():
            transport.resume_reading()

    def expire(self, seconds: float) -> None:
        """Close the connection if it is still idle after so many seconds."""
        self._deadline.set(seconds)

    def _expire(self) -> None:
        if self.closing:
            self.abort()
        elif self._reader is None:
            self.close()
        else:
            self._fail(ForwardError("the upstream took too long", GATEWAY_TIMEOUT))

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # asyncio hands over a Transport

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            if not self.closing:
                self.close()  # bytes that nobody asked for
            return
        if self._patience:
            self._deadline.set(self._patience)
        if self._tunnel:
            self._reader.piece(data)
        else:
            self._parse(data)
        if self._reader is not None:
            self._reader.flush()

    def _parse(self, data: bytes) -> None:
        self._silence += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._hand_over(data[upgrade.args[0] :])
        except HttpParserError as error:
            self._fail(ForwardError(f"the upstream's answer is broken: {error}"))
        else:
            if self._silence > _MOST_SILENCE and self._reader is not None:
                self._fail(ForwardError("the head or the trailers of the upstream's answer are too large"))

    def _hand_over(self, rest: bytes) -> None:
        if self._status == _SWITCHING and self._reader is not None:
            self._tunnel = True
            self.reusable = False
            self._reader.upgraded()
            if rest:
                self._reader.piece(rest)
        else:
            self._fail(ForwardError("the upstream switched protocols unasked"))

    def eof_received(self) -> None:
        """The upstream has closed its half: the end of a tunnel, and of an answer that is framed by nothing else.

        An answer like that is truncated if the connection is lost without this. asyncio closes the transport now.
        """
        reader = self._reader
        if reader is not None and (self._tunnel or (self._status >= _FINAL and self._framing is Framing.CLOSE)):
            self.reusable = False
            self._end(reader)

    def connection_lost(self, exc: Exception | None) -> None:
        transport, self._transport = self._transport, None
        if exc is not None and transport is not None and self.origin.scheme == "http":
            self._read_the_rest(transport, exc)
        self.reusable = False
        self._deadline.cancel()
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ForwardError("the upstream closed the connection"))
            self._drained.exception()
        if self._reader is not None:
            why = "the upstream closed the connection" + (f": {exc}" if exc else "")
            nothing_came = self._status == 0 and self._silence == 0
            self._fail(ForwardError(why, replayable=nothing_came and self._used))

    def _read_the_rest(self, transport: asyncio.Transport, exc: Exception) -> None:
        """A failed write ends a transport at once. An upstream that closed during a body may have answered before."""
        if self._reader is not None:
            for data in unread(transport):
                if self._reader is not None:
                    self.data_received(data)
            if isinstance(exc, BrokenPipeError):  # its FIN came before the reset
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

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self._reader is None or self._status >= _FINAL:
            self.reusable = False  # a second answer, to nothing that was asked
        self._status = 0
        self._fields = []

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._fields) >= _MOST_FIELDS:
            raise HttpParserError("too many header fields")
        if self._status == 0:
            self._fields.append((name, value))  # fields behind the body are trailers, and end here

    def on_headers_complete(self) -> None:
        reader = self._reader
        if reader is None:
            return
        status = self._parser.get_status_code()
        fields, reason = self._fields, self._reason
        self._check(status, fields)
        self._fields, self._reason = [], b""
        self._status = status
        if status < _FINAL:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise HttpParserError("too many interim answers")
            if status != _SWITCHING:
                reader.interim(status, reason, fields)
                return
            if not self._may_switch:
                raise HttpParserError("it switches protocols unasked")
        try:
            self._framing, self._length = read_framing(self._method, status, fields, self._parser.get_http_version())
        except AmbiguousFramingError as error:
            raise HttpParserError(f"{error} can be read in more ways than one") from error
        self.reusable = self._parser.should_keep_alive() and self._framing is not Framing.CLOSE
        if status == _NO_CONTENT and self._length:
            self.reusable = False  # it says that there is what cannot be
        reader.head(status, reason, fields, self._framing, self._length)
        if self._method == "HEAD" and status >= _FINAL:
            # llhttp would wait for the body that Content-Length announces: start afresh behind this head.
            self._parser = HttpResponseParser(self)
            self._end(reader)

    def _check(self, status: int, fields: RawFields) -> None:
        if not _LEAST <= status <= _MOST:
            raise HttpParserError("no status code")
        if self._silence > _MOST_SILENCE and sum(len(name) + len(value) for name, value in fields) > _MOST_SILENCE:
            raise HttpParserError("the head is too large")

    def on_body(self, data: bytes) -> None:
        if self._reader is not None and self._status < _FINAL:
            # llhttp reads one where an unknown 1xx announces it; the client would take it for the next answer.
            raise HttpParserError("an interim answer has no body")
        self._silence = 0
        if self._reader is not None:
            self._reader.piece(data)
        else:
            self.reusable = False  # a body behind an answer that has none

    def on_message_complete(self) -> None:
        if self._reader is not None and self._status >= _FINAL:
            if not self._parser.should_keep_alive():
                self.reusable = False  # llhttp heeds what Connection says in a trailer, and would read no more
            self._end(self._reader)

    def _end(self, reader: ResponseReader) -> None:
        self._reader = None
        self._patience = 0.0
        self._deadline.clear()
        reader.end()

    def _fail(self, error: ForwardError) -> None:
        reader, self._reader = self._reader, None
        self.close()
        if reader is not None:
            reader.fail(error)
