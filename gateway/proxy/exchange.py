"""`Exchange`: one request and its answer, on a client's connection."""

from collections.abc import Callable
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, StreamReader
from aiohttp.http_parser import RawRequestMessage

from gateway.proxy.responses import Response

if TYPE_CHECKING:
    from gateway.proxy.client_connection import ClientConnection

_RESET = pack("ii", 1, 0)
"""Linger for 0 seconds: close() resets the connection."""


def is_last(message: RawRequestMessage) -> bool:
    """Whether nothing behind a request can be read as another.

    HTTP/1.0 has no reliable way to say that a connection persists (RFC 9112 appendix C.2.2). Behind a request to
    switch protocols the client may have begun to speak the other one, whatever we answer (RFC 9931).
    """
    return message.should_close or message.upgrade or message.version != HttpVersion11


class Exchange:
    """One request and its answer.

    Attributes:
        message: The request's head, as parsed.
        body: The request's body, as it comes.
        client: The connection it came on.
        id: Names the request, here and upstream; empty when it was not read so far.
        keep_alive: Whether the connection can carry another request.
        fields: Of answers of our own to this request, as lines.
        status: The answer's status code; 0 while none of the final answer has been written.
        until_close: Whether the answer is framed by the end of the connection.
        on_gone: Called when the client is gone before the answer is complete.
    """

    __slots__ = ("body", "client", "fields", "id", "keep_alive", "message", "on_gone", "status", "until_close")

    def __init__(self, message: RawRequestMessage, body: StreamReader, client: "ClientConnection") -> None:
        self.message = message
        self.body = body
        self.client = client
        self.id = ""
        self.keep_alive = not is_last(message)
        self.fields = b""
        self.status = 0
        self.until_close = False
        self.on_gone: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        """Send bytes of the answer; nothing happens when the client is gone."""
        self.client.write(data)

    def answer(self, answer: Response) -> None:
        """Send an answer of our own. The connection stays open if the request allows it."""
        self.status = answer.status
        bodiless = self.message.method == "HEAD"
        self.write(answer.whole(self.fields, bodiless=bodiless, close=not self.keep_alive))

    def refuse(self, answer: Response) -> None:
        """Send an answer of our own and close: what follows on this connection cannot be trusted."""
        self.keep_alive = False
        self.answer(answer)

    def abort(self) -> None:
        """Break the connection, so that half an answer is not taken for a whole one."""
        self.keep_alive = False
        transport = self.client.transport
        if transport is None:
            return
        if self.until_close and not transport.is_closing():
            # An ordinary close would end the answer.
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        transport.abort()

    def _cancel(self, exc: BaseException) -> None:
        """The client is gone; aiohttp calls this of a request."""
        self.body.set_exception(exc)
        if self.on_gone is not None:
            self.on_gone()
