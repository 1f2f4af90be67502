"""`ClientConnection`: a client's connection. Requests are read one by one, and answered in their order.

Its life is the table in `connection_state`. How long to wait is decided here:

* A request's head has `head_timeout` from its first byte, a connection between two requests has `idle_timeout`.
* A response that came before the whole body had has said whether the connection ends (see `Exchange.settle`). If it
  does not, what is left of the body is taken, before the next request is read.
* A client that closes its half after a whole request may be waiting for the response, or gone: TCP tells only when we
  write. It is waited for, for `HALF_CLOSE_TIMEOUT`; a response that has begun by then is sent to its end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from socket import SO_KEEPALIVE, SOL_SOCKET

from gateway.limits.address import Address
from gateway.proxy.client import HALF_CLOSE_TIMEOUT, Client
from gateway.proxy.connection_state import CLOSED, FINISHING, HALF_CLOSED, LINGERING, OPEN, TRANSITIONS, State
from gateway.proxy.deadline import Deadline
from gateway.proxy.discard import discard_rest
from gateway.proxy.exchange import Exchange
from gateway.proxy.lingering_close import LingeringClose
from gateway.proxy.min_data_rate import MinDataRate
from gateway.proxy.observer import RequestObserver
from gateway.proxy.peer import Peer, peer_address
from gateway.proxy.request_parser import RequestParser
from gateway.proxy.responses import BAD_REQUEST, INTERNAL_ERROR, REQUEST_TIMEOUT, UNAVAILABLE, Response
from gateway.proxy.send_rate import SendRate
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.intake import Intake

LAST_WAIT = 1.0
"""Seconds that a connection may idle when the worker drains: its next request may be on its way."""


class ClientConnection(asyncio.Protocol):
    """A connection from a client.

    Args:
        handle: Answers a request.
        intake: What is taken from clients.
        observer: Is told why a connection was not taken, or cut off.
        admit: Says why a connection from an address cannot be taken; None if it can.
        trusts: Whether an address is a trusted proxy's.
        coalescer: Carries out what is written to clients.
        opened: Called when the connection has been taken.
        closed: Called when a connection that was taken is lost.

    Attributes:
        state: Where it is in its life.
        client: Who is at the other end; not there before the connection is made.
    """

    __slots__ = (
        "_admit",
        "_closed",
        "_coalescer",
        "_deadline",
        "_exchange",
        "_handle",
        "_idle_until",
        "_intake",
        "_linger",
        "_loop",
        "_observer",
        "_opened",
        "_requests",
        "_sending",
        "_task",
        "_transport",
        "_trusts",
        "_waiter",
        "client",
        "state",
    )
    client: Client
    _transport: asyncio.Transport
    _sending: SendRate

    def __init__(
        self,
        handle: Callable[[Exchange], Awaitable[object]],
        intake: Intake,
        observer: RequestObserver,
        admit: Callable[[Address | None], str | None],
        trusts: Callable[[Address | None], bool],
        coalescer: WriteCoalescer,
        opened: "Callable[[ClientConnection], None]",
        closed: "Callable[[ClientConnection], None]",
    ) -> None:
        self._handle = handle
        self._intake = intake
        self._observer = observer
        self._admit = admit
        self._trusts = trusts
        self._coalescer = coalescer
        self._opened = opened
        self._closed = closed
        self._loop = loop = asyncio.get_running_loop()
        self._requests = RequestParser(loop, intake)
        self._deadline = Deadline(loop, self._expire)
        self._idle_until = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._exchange: Exchange | None = None
        self._linger: LingeringClose | None = None
        self._task: asyncio.Task[None] | None = None
        self.state = OPEN

    def _enter(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a client connection cannot go from {self.state.name} to {state.name}")
        self.state = state
        if state is LINGERING or state is CLOSED:
            self._requests.done = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # it is one
        """Note who is there, and whether there is room, before the first request is read."""
        address = peer_address(transport.get_extra_info("peername"))
        cause = self._admit(address)
        if cause is not None:
            self._observer.rejected(cause)
            self._enter(CLOSED)
            transport.write(UNAVAILABLE.whole(close=True))
            transport.close()
            return
        scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        peer = Peer(address, str(address or ""), scheme, self._trusts(address))
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        self._transport = transport
        self._requests.connection_made(transport)
        self.client = Client(transport, peer, self._intake, self._requests, self._coalescer)
        self._sending = SendRate(
            transport, MinDataRate(self._loop.time, self._intake.answer_timeout, self._intake.least_rate)
        )
        self._opened(self)
        self._task = self._loop.create_task(self._run())

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._enter(CLOSED)
        self._deadline.cancel()
        if self._task is None:
            return  # it was not taken
        self._requests.connection_lost(exc)
        self._wake()
        self.client.lost()
        if self._exchange is not None:
            self._exchange.lose_client(exc or ConnectionResetError("the client closed the connection"))
        self._closed(self)

    def finish(self) -> None:
        """Make the exchange under way the last one; the next one, if its response has begun without saying so."""
        if self.state is not OPEN:
            return
        self._enter(FINISHING)
        if self._exchange is not None:
            if not self._exchange.status:
                self._exchange.keep_alive = False
        elif self._waiter is not None and not self._requests.begun:
            self._idle_until = self._loop.time() + LAST_WAIT
            self._deadline.set(LAST_WAIT)

    async def shutdown(self, seconds: float) -> None:
        """Break the connection off; a request under way has so many seconds to notice."""
        self._enter(CLOSED)
        self._deadline.cancel()
        self._wake()
        if self._exchange is not None:
            self._exchange.lose_client(ConnectionAbortedError("the gateway stops"))
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()
        self._transport.close()

    # Reading.

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._linger is not None:
            self._linger.discard(len(data))
        elif self.state is not CLOSED:
            requests, begun = self._requests, self._requests.begun
            requests.data_received(data)
            if self._waiter is not None:
                if requests.queue or requests.done:
                    self._wake()
                elif requests.begun and not begun:
                    self._deadline.set(self._intake.head_timeout)

    def eof_received(self) -> bool:
        """The client has closed its half. Returns whether there is something to say to it before we close ours."""
        self._coalescer.flush()
        if self._linger is not None or self.state is CLOSED:
            return False
        requests, client, exchange = self._requests, self.client, self._exchange
        if client.on_eof is not None:
            client.on_eof()
            return True
        if self.state is HALF_CLOSED:  # uvloop reports the end again when reading is resumed
            return True
        # In the middle of a request, it ends both directions.
        if requests.in_body() or not (exchange or requests.queue or requests.refusal):
            self._begin_linger()
            return False
        self._enter(HALF_CLOSED)
        client.half_closed = True
        if exchange is not None:
            self._hurry(exchange)
        return True

    def _hurry(self, exchange: Exchange) -> None:
        self._deadline.set(HALF_CLOSE_TIMEOUT)
        if not (exchange.status or self._requests.queue or self._requests.refusal):
            exchange.keep_alive = False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Answering.

    async def _run(self) -> None:
        """Answer one request after the other."""
        requests, client = self._requests, self.client
        while self.state is not CLOSED:
            if requests.queue:
                message, body = requests.pop()
                if not await self._serve(Exchange(message, body, client)):
                    break
            elif requests.done or self.state is HALF_CLOSED:
                self._refuse(requests.refusal)
                break
            else:
                await self._rest()
        self._leave()

    def _refuse(self, response: Response | None) -> None:
        if response is not None:
            self._observer.rejected("slow_head" if response is REQUEST_TIMEOUT else "unreadable")
            self.client.write(response.whole(close=True))

    async def _rest(self) -> None:
        """Wait for the next request."""
        idle_time = LAST_WAIT if self.state is FINISHING else self._intake.idle_timeout
        self._idle_until = self._loop.time() + idle_time
        self._deadline.set(min(self._intake.head_timeout, idle_time))
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._deadline.clear()

    async def _serve(self, exchange: Exchange) -> bool:
        """Answer a request. Returns whether there may be another."""
        if self.state is FINISHING:
            exchange.keep_alive = False
        elif self.state is HALF_CLOSED:
            self._hurry(exchange)
        self._exchange = exchange
        body = exchange.body
        try:
            try:
                if body.exception() is None:
                    await self._handle(exchange)
                else:
                    exchange.refuse(BAD_REQUEST)
            except Exception as error:  # noqa: BLE001 - the next request has to be answered
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
            exchange.refuse(INTERNAL_ERROR)
        self._observer.failed(exchange.id, exchange.status, error)

    # Leaving.

    def _leave(self) -> None:
        self._coalescer.flush()
        if self._linger is None and self.state is not CLOSED and not self._transport.is_closing():
            self._begin_linger().close_half()

    def _begin_linger(self) -> LingeringClose:
        self._enter(LINGERING)
        self._linger = LingeringClose(self._transport, self._intake, self._loop, self._deadline, self._sending)
        return self._linger

    # Waiting.

    def _expire(self) -> None:
        if self._linger is not None:
            self._linger.expire()
        elif self._waiter is not None:
            if not self._waiter.done():  # or else a request has come in this very iteration of the event loop
                self._expire_rest()
        elif self.state is HALF_CLOSED and not self.client.writing_paused:
            if self._exchange is not None and not self._exchange.status:
                self._transport.abort()
        elif self._sending.end():
            self._deadline.set(self._sending.begin())
        else:
            self._observer.rejected("slow_reader")
            self._transport.abort()

    def _expire_rest(self) -> None:
        left = self._idle_until - self._loop.time()
        if self._requests.holds_part_of_a_head():
            self._requests.stop(REQUEST_TIMEOUT)
        elif left > 0:
            self._requests.begun = False  # empty lines in front of a head are no part of it
            self._deadline.set(left)
            return
        else:
            self._requests.done = True
        self._wake()

    def pause_writing(self) -> None:
        """The client is slow: whoever writes shall wait."""
        if self._linger is None:
            self._deadline.set(self._sending.begin())
        self.client.pause_writing(paused=True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._linger is None:
            self._sending.end()
            self._deadline.clear()
        self.client.pause_writing(paused=False)
