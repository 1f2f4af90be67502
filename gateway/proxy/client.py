"""The client's side: one connection, and one exchange of a request for an answer on it.

aiohttp's low-level server parses requests and keeps their order. It is given an `Exchange` where it would make a
request object, and gets the same object back where it expects a response: the answer has been written by then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import _ErrInfo  # the parser's complaint, queued in the place of a request

from gateway.limits.address import Address, parse_address
from gateway.proxy.answers import BAD_REQUEST, HEAD_TOO_LARGE, INTERNAL_ERROR, Answer


class ClientConnection(web.RequestHandler):
    """A connection from a client.

    Attributes:
        peer: The address at the other end; None on a Unix socket.
        on_pause: Called with True when the client takes bytes more slowly than they come, with False when it has
            caught up. Set by whoever is writing.
    """

    __slots__ = ("on_pause", "peer")

    def __init__(self, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self.peer: Address | None = None
        self.on_pause: Callable[[bool], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who is there, before the first request is handled."""
        peer = transport.get_extra_info("peername")
        self.peer = parse_address(peer[0].partition("%")[0]) if isinstance(peer, tuple) else None
        super().connection_made(transport)

    @property
    def idle(self) -> bool:
        """Whether no request is being handled."""
        return self._current_request is None

    def finish(self) -> None:
        """Make the exchange under way, if any, the last one."""
        exchange = cast("Exchange | None", self._current_request)
        if exchange is not None:
            exchange.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Parse, and tell whoever reads a body when it turns out to be broken; aiohttp would let them wait for more."""
        super().data_received(data)
        exchange = self._current_request
        if exchange is not None and self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            body = cast("Exchange", exchange).body
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError("the body's framing is broken"))

    def pause_writing(self) -> None:
        """The client is slow: whoever writes shall wait."""
        super().pause_writing()
        if self.on_pause is not None:
            self.on_pause(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self.on_pause is not None:
            self.on_pause(False)

    def handle_error(  # type: ignore[override]
        self,
        request: "Exchange",  # type: ignore[override]
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature; what a parser complains of is not for clients
    ) -> "Exchange":
        """Answer what aiohttp could not parse, and what we did not foresee, without a word about why."""
        if status == 500:  # noqa: PLR2004
            self.logger.error("unhandled error in a request", exc_info=exc)
        if request.status:
            raise ConnectionError("the answer has begun, there is no second one")
        request.refuse(_WHEN_UNREADABLE.get(type(exc).__name__, BAD_REQUEST) if status != 500 else INTERNAL_ERROR)  # noqa: PLR2004
        return request


_WHEN_UNREADABLE = {"LineTooLong": HEAD_TOO_LARGE}


class Exchange:
    """One request and its answer.

    Attributes:
        message: The request's head, as parsed.
        body: The request's body, as it comes.
        client: The connection it came on.
        keep_alive: Whether the connection can carry another request.
        status: The answer's status code; 0 while none of the final answer has been written.
        on_gone: Called when the client is gone before the answer is complete.
    """

    __slots__ = ("_task", "body", "client", "keep_alive", "message", "on_gone", "status")

    def __init__(self, message: RawRequestMessage, body: StreamReader, client: ClientConnection) -> None:
        self.message = message
        self.body = body
        self.client = client
        self.keep_alive = message.version == HttpVersion11 and not message.should_close
        self.status = 0
        self.on_gone: Callable[[], None] | None = None
        self._task: object = None

    def write(self, data: bytes) -> None:
        """Send bytes of the answer; nothing happens when the client is gone."""
        transport = self.client.transport
        if transport is not None:
            transport.write(data)

    def answer(self, answer: Answer) -> None:
        """Send an answer of our own. The connection stays open if the request allows it."""
        self.status = answer.status
        head = answer.head if self.keep_alive else answer.head + b"Connection: close\r\n"
        self.write(b"%b\r\n%b" % (head, b"" if self.message.method == "HEAD" else answer.body))

    def refuse(self, answer: Answer) -> None:
        """Send an answer of our own and close: what follows on this connection cannot be trusted."""
        self.keep_alive = False
        self.answer(answer)

    def abort(self) -> None:
        """Break the connection, so that half an answer is not taken for a whole one."""
        self.keep_alive = False
        transport = self.client.transport
        if transport is not None:
            transport.abort()

    # What aiohttp asks of a request.

    @property
    def remote(self) -> str:
        """For aiohttp's log."""
        return str(self.client.peer)

    def _cancel(self, exc: BaseException) -> None:
        self.body.set_exception(exc)
        if self.on_gone is not None:
            self.on_gone()

    def _finish(self) -> None:
        self.on_gone = None

    # What aiohttp asks of a response.

    async def prepare(self, request: object) -> None:
        """The answer has been written."""

    async def write_eof(self) -> None:
        """The answer has been written."""


class Server(web.Server):
    """aiohttp's low-level server, making our connections and exchanges, and able to leave without breaking any.

    Attributes:
        draining: Whether answers tell clients to close their connections.
    """

    def __init__(self, handler: Callable[[Exchange], Awaitable[Exchange]], **options: Any) -> None:
        # aiohttp's types know of its own requests and responses only.
        super().__init__(cast("Any", handler), request_factory=cast("Any", self._exchange))
        self._options = options
        self._empty: asyncio.Future[None] | None = None
        self.draining = False

    def _exchange(
        self, message: RawRequestMessage, body: StreamReader, client: ClientConnection, _writer: object, _task: object
    ) -> Exchange:
        exchange = Exchange(message, body, client)
        if self.draining:
            exchange.keep_alive = False
        return exchange

    def __call__(self) -> ClientConnection:
        return ClientConnection(self, loop=self._loop, **self._options)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection at once; aiohttp waits for its handler, which may outlive the client."""
        self._connections.pop(handler, None)
        if self._empty is not None and not self._connections and not self._empty.done():
            self._empty.set_result(None)

    async def drain(self, idle_time: float, deadline: float) -> int:
        """Let the connections end: answers say so, and those that idle are closed after a while.

        A client may be sending its next request just now, so an idle connection is not closed at once.

        Args:
            idle_time: Seconds before idle connections are closed.
            deadline: Seconds before the rest is broken off.

        Returns:
            How many connections had to be broken off.
        """
        self.draining = True
        clients = cast("list[ClientConnection]", self.connections)
        for client in clients:
            client.finish()
        await self._wait_empty(idle_time)
        for client in cast("list[ClientConnection]", self.connections):
            if client.idle:
                client.force_close()
        await self._wait_empty(max(0.0, deadline - idle_time))
        left = len(self._connections)
        await self.shutdown(0.1)
        return left

    async def _wait_empty(self, seconds: float) -> None:
        if self._connections:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=seconds)
