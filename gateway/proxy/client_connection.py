"""`ClientConnection`: a client's connection, on which requests are handled one after the other.

Its states are in `connection_state`. The timeouts are decided here:

* A request's head has `head_timeout` from its first byte; a connection between two requests has `idle_timeout`. From
  `keepalive_age` on, its next response is the last one.
* If a response is complete before the request's body is, the response has said whether the connection closes (see
  `Exchange.decide_keep_alive`). If not, the rest of the body is discarded before the next request is handled.
* A client that closes its half after a complete request may be waiting for the response, or gone: only a write can
  tell. The response has `HALF_CLOSE_TIMEOUT` seconds to begin, and is then sent to its end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from socket import SO_KEEPALIVE, SOL_SOCKET
from time import time
from typing import Final

from gateway.limiter.verdict import Outcome
from gateway.loop.eager_run import EagerRun, run_eagerly
from gateway.loop.resettable_timer import ResettableTimer
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.client import HALF_CLOSE_TIMEOUT, Client
from gateway.proxy.connection_state import CLOSED, FINISHING, HALF_CLOSED, LINGERING, OPEN, TRANSITIONS, State
from gateway.proxy.exchange import Exchange
from gateway.proxy.lingering_close import LingeringClose
from gateway.proxy.min_data_rate import MinDataRate, SendRate
from gateway.proxy.observer import RequestObserver
from gateway.proxy.peer import Peer
from gateway.proxy.request_body import discard_rest
from gateway.proxy.request_id import RequestIds
from gateway.proxy.request_parser import RequestParser
from gateway.proxy.responses import FORBIDDEN, INTERNAL_ERROR, UNAVAILABLE
from gateway.proxy.unread import read_unread
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.intake import Intake
from gateway.telemetry.access_record import AccessRecord

STRANGER: Final = "stranger"
"""Why a connection is rejected on a listener that only trusted proxies may use."""

LAST_WAIT: Final = 1.0
"""Seconds that a connection may be idle when the worker drains, since its next request may be on its way."""


class ClientConnection(asyncio.Protocol):
    """A connection from a client.

    Args:
        handle: Handles a request.
        intake: Limits on connections and requests.
        observer: Notified when the connection is rejected or cut off.
        meet: Returns the peer at the other end of the transport, or why the connection is rejected.
        ids: Makes the ids of requests.
        coalescer: Carries out writes to clients.
        refuse_with: See `Client`.
        opened: Called when the connection is admitted.
        closed: Called when an admitted connection is lost.

    Attributes:
        state: See `connection_state`.
        client: What exchanges see of it; set once it is admitted.
    """

    __slots__ = (
        "_ages_at", "_closed", "_coalescer", "_deadline", "_exchange", "_handle", "_handling", "_idle_until", "_ids",
        "_intake", "_is_admitted", "_is_waiting", "_linger", "_loop", "_meet", "_observer", "_opened",
        "_refuse_with", "_requests", "_sending", "_transport", "client", "state",
    )  # fmt: skip
    client: Client
    _transport: asyncio.Transport
    _sending: SendRate

    def __init__(
        self,
        handle: Callable[[Exchange], Awaitable[object]],
        intake: Intake,
        observer: RequestObserver,
        meet: Callable[[asyncio.Transport], Peer | str],
        ids: RequestIds,
        coalescer: WriteCoalescer,
        refuse_with: HTTPStatus | None,
        opened: "Callable[[ClientConnection], None]",
        closed: "Callable[[ClientConnection], None]",
    ) -> None:
        self._handle = handle
        self._intake = intake
        self._observer = observer
        self._meet = meet
        self._ids = ids
        self._coalescer = coalescer
        self._refuse_with = refuse_with
        self._opened = opened
        self._closed = closed
        self._loop = loop = asyncio.get_running_loop()
        self._requests = RequestParser(loop, intake)
        self._deadline = ResettableTimer(loop, self._expire)
        self._ages_at = self._idle_until = 0.0
        self._is_admitted = False
        self._is_waiting = False  # for a request
        self._exchange: Exchange | None = None
        self._linger: LingeringClose | None = None
        self._handling: EagerRun | None = None
        self.state = OPEN

    def _enter(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a client connection cannot go from {self.state.name} to {state.name}")
        self.state = state
        if state is LINGERING or state is CLOSED:
            self._requests.done = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # it is one
        """Identify the peer, and reject the connection if there are too many."""
        peer = self._meet(transport)
        if isinstance(peer, str):
            self._observer.rejected(peer)
            self._enter(CLOSED)
            transport.write((FORBIDDEN if peer == STRANGER else UNAVAILABLE).encode(close=True))
            transport.close()
            return
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        self._transport = transport
        self._ages_at = self._loop.time() + self._lifetime(peer)
        self._requests.attach(transport)
        self.client = Client(transport, peer, self._intake, self._requests, self._coalescer, self._refuse_with)
        self._sending = SendRate(
            transport, MinDataRate(self._loop.time, self._intake.answer_timeout, self._intake.least_rate)
        )
        self._is_admitted = True
        self._opened(self)
        self._go_on()

    def _lifetime(self, peer: Peer) -> float:
        """Seconds after which the next response is the last: a certificate is verified once, in the handshake."""
        age = self._intake.keepalive_age
        return age if peer.certificate is None else min(age, peer.certificate.expires - time())

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by either side."""
        if exc is not None and self._is_admitted and self.client.on_eof is not None and self._linger is None:
            # A failed write closes it at once, but what the client sent into its tunnel before is still in the socket.
            for data in read_unread(self._transport):
                self._requests.data_received(data)
        self._enter(CLOSED)
        self._deadline.cancel()
        if not self._is_admitted:
            return
        self._requests.attach(None)
        self._wake()
        self.client.lost()
        if self._exchange is not None:
            self._exchange.lose_client(exc or ConnectionResetError("the client closed the connection"))
        self._closed(self)

    def finish(self) -> None:
        """Make the exchange in flight the last one, or the next one if its response has already begun."""
        if self.state is not OPEN:
            return
        self._enter(FINISHING)
        if self._exchange is not None:
            if not self._exchange.status:
                self._exchange.keep_alive = False
        elif self._is_waiting and not self._requests.begun:
            self._idle_until = self._loop.time() + LAST_WAIT
            self._deadline.set(LAST_WAIT)

    async def shutdown(self, seconds: float) -> None:
        """Close the connection; the request in flight has `seconds` to end."""
        self._enter(CLOSED)
        self._deadline.cancel()
        self._wake()
        if self._exchange is not None:
            self._exchange.lose_client(ConnectionAbortedError("the gateway is shutting down"))
        if self._handling is not None:
            await self._handling.end(seconds)
        self._transport.close()

    # Reading.

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._linger is not None:
            self._linger.discard(len(data))
        elif self.state is not CLOSED:
            requests, begun = self._requests, self._requests.begun
            requests.data_received(data)
            if self._is_waiting:
                if requests.queue or requests.done:
                    self._wake()
                elif requests.begun and not begun:
                    self._deadline.set(self._intake.head_timeout)

    def eof_received(self) -> bool:
        """The client has closed its half. Returns whether ours stays open for now."""
        self._coalescer.flush()
        if self._linger is not None or self.state is CLOSED:
            return False
        requests, client, exchange = self._requests, self.client, self._exchange
        if client.on_eof is not None:
            client.on_eof()
            return True
        if self.state is HALF_CLOSED:  # uvloop reports the end again when reading is resumed
            return True
        # In the middle of a request, this ends both directions.
        if requests.in_body() or not (exchange or requests.queue or requests.refusal):
            self._begin_linger()
            return False
        self._enter(HALF_CLOSED)
        client.half_closed = True
        if exchange is not None:
            self._limit_response_time(exchange)
        return True

    def _limit_response_time(self, exchange: Exchange) -> None:
        self._deadline.set(HALF_CLOSE_TIMEOUT)
        if not (exchange.status or self._requests.queue or self._requests.refusal):
            exchange.keep_alive = False

    def _wake(self) -> None:
        """Handle what has come, unless something else is being handled."""
        if self._is_waiting:
            self._is_waiting = False
            self._deadline.clear()
            self._handling = run_eagerly(self._handle_requests(), self._loop)

    # Handling.

    async def _handle_requests(self) -> None:
        """Handle the requests that have come, one after the other."""
        requests, client = self._requests, self.client
        while requests.queue and self.state is not CLOSED:
            message, body = requests.pop()
            if not await self._serve(Exchange(message, body, client, self._ids)):
                self._close()
                return
        self._go_on()

    def _go_on(self) -> None:
        """Wait for the next request, if there can be one."""
        if self.state is CLOSED:
            self._close()
        elif self._requests.done or self.state is HALF_CLOSED:
            self._refuse(self._requests.refusal)
            self._close()
        else:
            idle_time = LAST_WAIT if self.state is FINISHING else self._intake.idle_timeout
            self._idle_until = self._loop.time() + idle_time
            self._deadline.set(min(self._intake.head_timeout, idle_time))
            self._is_waiting = True

    def _refuse(self, cause: BadRequest | None) -> None:
        """Respond to a head that could not be read: there is no exchange."""
        if cause is not None:
            response, reason = self.client.rephrase(cause.response), cause.reason
            request_id = self._ids.new()
            self._observer.rejected(reason if cause is BadRequest.SLOW_HEAD else "unreadable")
            self.client.write(response.encode(self._ids.line(request_id), close=True))
            self._observer.served(
                AccessRecord(request_id, "", "", b"", Outcome.BAD_REQUEST, response.status, 0.0, reason)
            )

    async def _serve(self, exchange: Exchange) -> bool:
        """Handle a request. Returns whether there may be another."""
        if self.state is FINISHING or self._loop.time() >= self._ages_at:
            exchange.keep_alive = False
        if self.state is HALF_CLOSED:
            self._limit_response_time(exchange)
        self._exchange = exchange
        body = exchange.body
        try:
            try:
                if body.exception() is None:
                    await self._handle(exchange)
                else:
                    exchange.reject(BadRequest.BROKEN_BODY)
            except Exception as error:  # noqa: BLE001 - the connection goes on with the next request
                self._fail(exchange, error)
            exchange.on_gone = None
            if not body.is_eof() and not (
                exchange.keep_alive and await discard_rest(body, self._intake, self._observer)
            ):
                return False
        finally:
            self._exchange = None
            exchange.on_gone = None
        if self.client.writing_paused:
            await self.client.drain()
        return exchange.keep_alive

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        if exchange.status:
            exchange.abort()
        else:
            exchange.respond_and_close(INTERNAL_ERROR)
        self._observer.failed(exchange.id, exchange.status, error)

    # Closing.

    def _close(self) -> None:
        self._coalescer.flush()
        if self._linger is None and self.state is not CLOSED and not self._transport.is_closing():
            self._begin_linger().close_half()

    def _begin_linger(self) -> LingeringClose:
        self._enter(LINGERING)
        self._linger = LingeringClose(self._transport, self._intake, self._loop, self._deadline, self._sending)
        return self._linger

    # Timeouts.

    def _expire(self) -> None:
        if self._linger is not None:
            self._linger.expire()
        elif self._is_waiting:
            self._expire_wait()
        elif self.state is HALF_CLOSED and not self.client.writing_paused:
            if self._exchange is not None and not self._exchange.status:
                self._transport.abort()
        elif self._sending.end():
            self._deadline.set(self._sending.begin())
        else:
            self._observer.rejected("slow_reader")
            self._transport.abort()

    def _expire_wait(self) -> None:
        left = self._idle_until - self._loop.time()
        if self._requests.holds_part_of_a_head():
            self._requests.stop(BadRequest.SLOW_HEAD)
        elif left > 0:
            self._deadline.set(left)
            return
        else:
            self._requests.done = True
        self._wake()

    def pause_writing(self) -> None:
        """The write buffer is full: writers have to wait."""
        if self._linger is None:
            self._deadline.set(self._sending.begin())
        self.client.pause_writing(paused=True)

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        if self._linger is None:
            self._sending.end()
            self._deadline.clear()
        self.client.pause_writing(paused=False)
