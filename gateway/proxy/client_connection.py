"""`ClientConnection`: a client's connection. Requests are read one by one, and answered in their order.

How long to wait and how to leave is decided here:

* A request's head has `head_timeout` from its first byte, a connection between two requests has `idle_timeout`.
* We leave as RFC 9112 section 9.6 has it: close our half, and go on taking bytes for a while, without reading them, so
  that the client gets to read the last answer before a reset wipes it out. A client in the middle of a body may need
  to send all of it first: it may go on for `discard_timeout`, and up to `max_discard` bytes.
* An answer that came before the whole body had has said whether the connection ends (see `Exchange.settle`). If it does
  not, what is left of the body is taken, within the same bounds, before the next request is read.
* A client that closes its half behind a whole request may be waiting for the answer, or gone: TCP tells only when we
  write. It is waited for, for `HALF_CLOSED` seconds; an answer that has begun by then is sent to its end.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import StreamReader, web

from gateway.limits.address import Address, parse_address
from gateway.proxy.deadline import Deadline
from gateway.proxy.exchange import Exchange
from gateway.proxy.min_data_rate import MinDataRate
from gateway.proxy.observer import RequestObserver
from gateway.proxy.pins import Pins
from gateway.proxy.request_parser import Parsed, RequestParser
from gateway.proxy.responses import BAD_REQUEST, INTERNAL_ERROR, REQUEST_TIMEOUT, UNAVAILABLE, Response
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.intake import Intake

LAST_WAIT = 1.0
"""Seconds that a connection may idle when we are leaving: its next request may be on its way."""

LINGER = 1.0
"""Seconds in which something has to come behind the last answer, for us to go on taking it."""

SILENCE = 5.0
"""Seconds that may pass between two pieces of it."""

HALF_CLOSED = 5.0
"""Seconds in which an answer has to begin when the client has closed its half."""

_BUFFER = 65_536
"""Bytes of a body kept for an upstream that is slow to take them."""


def peer_of(name: object) -> Address | None:
    """The address in the name of a socket's other end; None on a Unix socket."""
    return parse_address(name[0].partition("%")[0]) if isinstance(name, tuple) else None


class ClientConnection(web.RequestHandler):
    """A connection from a client.

    Args:
        server: aiohttp's, which keeps a list of connections.
        handle: Answers a request.
        intake: What is taken from clients.
        observer: Is told why a connection was not taken, or cut off.
        admit: Says why a connection from an address cannot be taken; None if it can.
        trusts: Whether an address is a trusted proxy's.
        outbox: Carries out what is written to clients.

    Attributes:
        intake: As above.
        peer: The address at the other end; None on a Unix socket.
        source: The same as text; empty on a Unix socket.
        scheme: What the client speaks, ``http`` or ``https``.
        trusted: Whether the peer is a trusted proxy.
        pins: Connections to upstreams that belong to this one; None before there are any.
        on_pause: Called with True when the client takes bytes more slowly than they come, with False when it has
            caught up. Set by whoever is writing.
        on_eof: Called when the client closes its half of a tunnel. Set by the tunnel.
    """

    __slots__ = (
        "_admit",
        "_deadline",
        "_discarded",
        "_ended",
        "_finishing",
        "_handle",
        "_idle_until",
        "_leaving",
        "_leaving_until",
        "_observer",
        "_outbox",
        "_patience",
        "_stream",
        "_trusts",
        "_unsent",
        "intake",
        "on_eof",
        "on_pause",
        "peer",
        "pins",
        "scheme",
        "source",
        "trusted",
    )

    def __init__(
        self,
        server: web.Server,
        handle: Callable[[Exchange], Awaitable[object]],
        intake: Intake,
        observer: RequestObserver,
        admit: Callable[[Address | None], str | None],
        trusts: Callable[[Address | None], bool],
        outbox: WriteCoalescer,
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, keepalive_timeout=0, access_log=cast("Any", None), read_bufsize=_BUFFER)
        self._stream = RequestParser(self, loop, intake, _BUFFER)
        self._parser = self._stream.parser
        self._handle = handle
        self._observer = observer
        self._admit = admit
        self._trusts = trusts
        self._outbox = outbox
        self._deadline = Deadline(loop, self._expire)
        self._patience = MinDataRate(loop.time, intake.answer_timeout, intake.least_rate)
        self._idle_until = 0.0
        self._ended = False
        self._finishing = False
        self._leaving = False
        self._leaving_until = 0.0
        self._discarded = 0
        self._unsent = 0
        self.intake = intake
        self.peer: Address | None = None
        self.source = ""
        self.scheme = "http"
        self.trusted = False
        self.pins: Pins | None = None
        self.on_pause: Callable[[bool], None] | None = None
        self.on_eof: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who is there, and whether there is room, before the first request is read."""
        self.peer = peer = peer_of(transport.get_extra_info("peername"))
        self.source = str(peer or "")
        self.scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        self.trusted = self._trusts(peer)
        cause = self._admit(self.peer)
        if cause is None:
            super().connection_made(transport)
            return
        self._observer.rejected(cause)
        self._leaving = True
        self._manager = None  # which does not count it
        cast("asyncio.Transport", transport).write(UNAVAILABLE.whole(close=True))
        cast("asyncio.Transport", transport).close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone."""
        self._deadline.cancel()
        super().connection_lost(exc)
        if self.pins is not None:
            self.pins.close()

    @property
    def half_closed(self) -> bool:
        """Whether the client has closed its half behind a whole request."""
        return self._ended

    @property
    def idle(self) -> bool:
        """Whether no request is being handled."""
        return self._current_request is None

    def finish(self) -> None:
        """Make the exchange under way the last one; the next one, if its answer has begun and says nothing of it."""
        self._finishing = True
        exchange = cast("Exchange | None", self._current_request)
        if exchange is not None and not exchange.status:
            exchange.keep_alive = False
        elif self._waiter is not None and not self._stream.begun:
            self._idle_until = self._loop.time() + LAST_WAIT
            self._deadline.set(LAST_WAIT)

    # Reading.

    def data_received(self, data: bytes) -> None:
        """Bytes have come; or none, when there is room again for those that wait in the parser."""
        if self._leaving and data:
            self._discard(len(data))
        if self._leaving or self._force_close:
            return
        if self._payload_parser is not None:
            self._payload_parser.feed_data(data)
        elif self._upgraded:
            self._message_tail += data
            if len(self._message_tail) >= _BUFFER and not self._buffer_paused:
                self._pause_reading_for_buffer()
        elif not self._stream.done:
            self._read(data)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded <= self.intake.max_discard and self._loop.time() < self._leaving_until:
            self._deadline.set(SILENCE)
        elif self.transport is not None:
            self.transport.abort()

    def _read(self, data: bytes) -> None:
        stream, queue = self._stream, cast("deque[Parsed]", self._messages)
        queued, begun = len(queue), stream.begun
        stream.read(data, queue, self._max_msg_queue_size)
        if len(queue) > queued or stream.done:
            if stream.tail is not None:
                self._upgraded, self._message_tail = True, stream.tail
            if len(queue) >= self._max_msg_queue_size and not self._buffer_paused:
                self._pause_reading_for_buffer()
            self._wake()
        elif stream.begun and not begun and self._waiter is not None:
            self._deadline.set(self.intake.head_timeout)

    def eof_received(self) -> bool:  # type: ignore[override] # aiohttp's says nothing, which asyncio takes for False
        """The client has closed its half. Returns whether there is something to say to it before we close ours."""
        self._outbox.flush()
        transport, stream = self.transport, self._stream
        exchange = cast("Exchange | None", self._current_request)
        if transport is None or self._leaving:
            return False
        if self.on_eof is not None:
            self.on_eof()
            return True
        # In the middle of a request, it ends both directions.
        if stream.in_body() or not (exchange or self._messages or stream.refusal):
            self._begin_linger(transport)
            return False
        self._ended = True
        if exchange is not None:
            self._hurry(exchange)
        return True

    def _hurry(self, exchange: Exchange) -> None:
        self._deadline.set(HALF_CLOSED)
        if not (exchange.status or self._messages or self._stream.refusal):
            exchange.keep_alive = False

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # Answering.

    def write(self, data: bytes) -> None:
        """Send bytes; nothing happens when the client is gone."""
        if self.transport is not None:
            self._outbox.post(self.transport, data)

    async def start(self) -> None:
        """Answer one request after the other; aiohttp runs this for each connection."""
        messages = cast("deque[Parsed]", self._messages)
        while not self._force_close:
            if messages:
                message, body = messages.popleft()
                if self._buffer_paused and len(messages) <= self._msg_queue_resume_size:
                    self._resume_reading_if_drained()
                if not await self._serve(Exchange(message, body, self)):
                    break
            elif self._stream.done or self._ended:
                self._refuse(self._stream.refusal)
                break
            else:
                await self._rest()
        self._leave()

    def _refuse(self, answer: Response | None) -> None:
        if answer is not None and self.transport is not None:
            self._observer.rejected("slow_head" if answer is REQUEST_TIMEOUT else "unreadable")
            self.write(answer.whole(close=True))

    async def _rest(self) -> None:
        """Wait for the next request."""
        idle_time = LAST_WAIT if self._finishing else self.intake.idle_timeout
        self._idle_until = self._loop.time() + idle_time
        self._deadline.set(min(self.intake.head_timeout, idle_time))
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._deadline.clear()

    async def _serve(self, exchange: Exchange) -> bool:
        """Answer a request. Returns whether there may be another."""
        if self._finishing:
            exchange.keep_alive = False
        if self._ended:
            self._hurry(exchange)
        self._current_request = cast("Any", exchange)
        try:
            try:
                if exchange.body.exception() is None:
                    await self._handle(exchange)
                else:
                    exchange.refuse(BAD_REQUEST)
            except Exception as error:  # noqa: BLE001 - the next request has to be answered
                self._fail(exchange, error)
            exchange.on_gone = None
            if not (exchange.body.is_eof() or (exchange.keep_alive and await self._take_rest(exchange.body))):
                return False
        finally:
            self._current_request = None
            exchange.on_gone = None
        if self._paused:
            await self._drain_helper()
        return exchange.keep_alive

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        if exchange.status:
            exchange.abort()
        else:
            exchange.refuse(INTERNAL_ERROR)
        self._observer.failed(exchange.id, exchange.status, error)

    async def _take_rest(self, body: StreamReader) -> bool:
        """Throw away what is left of a body whose request has been answered. Returns whether it came to its end.

        This does not wait for the client to take the answer: it may not read before it has sent everything.
        """
        intake = self.intake
        patience = MinDataRate(self._loop.time, intake.body_timeout, intake.least_rate)
        left = intake.max_discard
        try:
            async with asyncio.timeout(intake.discard_timeout):
                while not body.is_eof() and left >= 0:
                    async with asyncio.timeout(patience.begin()):
                        size = len(await body.readany())
                    patience.end(size)
                    left -= size
        except TimeoutError:
            self._observer.rejected("slow_body")
        except (web.RequestPayloadError, RuntimeError, OSError):
            return False  # it is broken, or the client is gone
        if left < 0:
            self._observer.rejected("large_body")
        return body.is_eof()

    def _leave(self) -> None:
        self._task_handler = None
        self._outbox.flush()
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self._begin_linger(transport)
        try:
            transport.write_eof()
        except OSError:  # the client has reset it, which a transport that does not read has not heard of
            transport.abort()
            return
        transport.resume_reading()

    def _begin_linger(self, transport: asyncio.Transport) -> None:
        """Nothing more will be written: give the client time to take what is left, and `LINGER` after that."""
        self._leaving = True
        self._leaving_until = self._loop.time() + self.intake.discard_timeout
        self._unsent = transport.get_write_buffer_size()
        self._patience.begin()
        self._deadline.set(LINGER)

    # Waiting.

    def _expire(self) -> None:
        transport = self.transport
        if transport is None:
            return
        if self._leaving:
            self._expire_linger(transport)
        elif self._waiter is not None:
            if not self._waiter.done():  # or else a request has come in this very turn of the loop
                self._expire_rest()
        elif self._ended and not self._paused:
            exchange = cast("Exchange | None", self._current_request)
            if exchange is not None and not exchange.status:
                transport.abort()
        else:
            unsent = transport.get_write_buffer_size()
            patience = self._patience.end(self._unsent - unsent)
            if patience:
                self._unsent = unsent
                self._deadline.set(self._patience.begin())
            else:
                self._observer.rejected("slow_reader")
                transport.abort()

    def _expire_linger(self, transport: asyncio.Transport) -> None:
        before, unsent = self._unsent, transport.get_write_buffer_size()
        if (before or unsent) and self._patience.end(max(before - unsent, 0)):
            self._unsent = unsent
            self._patience.begin()
            self._deadline.set(LINGER)
        else:
            transport.abort()

    def _expire_rest(self) -> None:
        left = self._idle_until - self._loop.time()
        if self._stream.holds_part_of_a_head():
            self._stream.stop(REQUEST_TIMEOUT)
        elif left > 0:
            self._stream.begun = False  # empty lines in front of a head are no part of it
            self._deadline.set(left)
            return
        else:
            self._stream.done = True
        self._wake()

    def pause_writing(self) -> None:
        """The client is slow: whoever writes shall wait."""
        super().pause_writing()
        transport = self.transport
        if not self._leaving and transport is not None:
            self._unsent = transport.get_write_buffer_size()
            self._deadline.set(self._patience.begin())
        if self.on_pause is not None:
            self.on_pause(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        transport = self.transport
        if not self._leaving and transport is not None:
            self._patience.end(self._unsent - transport.get_write_buffer_size())
            self._deadline.clear()
        if self.on_pause is not None:
            self.on_pause(False)
