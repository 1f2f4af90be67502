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


LITTLE = 262_144
"""Bytes of a body that are rather taken to their end than paid for with a new connection, and its handshake."""


def is_last(message: RawRequestMessage) -> bool:
    """Whether nothing behind a request can be read as another.

    HTTP/1.0 has no reliable way to say that a connection persists (RFC 9112 appendix C.2.2). Behind a request to
    switch protocols the client may have begun to speak the other one, whatever we answer (RFC 9931).
    """
    return message.should_close or message.upgrade or message.version != HttpVersion11


def declared_length(message: RawRequestMessage) -> int | None:
    """Bytes of a request's body, if its head says so."""
    length = message.headers.get("Content-Length")
    return None if length is None else int(length.lstrip("0") or 0)


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

    @property
    def pins_connections(self) -> bool:
        """Whether connections to upstreams are pinned to the client's; see `pins`."""
        return self.client.pins is not None and not self.client.pins.off

    @property
    def withholds_body(self) -> bool:
        """Whether the client may choose not to send the body: it expects 100 Continue, and nothing of it has come."""
        return "Expect" in self.message.headers and not self.body.total_bytes and not self.body.is_eof()

    def settle(self, *, body_is_taken: bool = False) -> None:
        """Decide, before the head of the answer is written, whether the connection goes on behind it.

        An answer may come before the whole body has. Then what is left is taken to its end, or the answer has to say
        that the connection ends (RFC 9112 section 9.6): a client that was not told sends its next request to nobody.

        Args:
            body_is_taken: Whether an upstream has said that it takes the body to its end, by not closing.
        """
        if not self.keep_alive or self.body.is_eof():
            return
        if self.withholds_body:
            self.keep_alive = False  # what comes next may be the body or another request (RFC 9110 section 10.1.1)
            return
        length = declared_length(self.message)
        left = None if length is None else length - self.body.total_bytes
        most = self.client.intake.max_discard if body_is_taken else LITTLE
        self.keep_alive = body_is_taken if left is None else left <= most

    def answer(self, answer: Response) -> None:
        """Send an answer of our own. The connection stays open if the request allows it, see `settle`."""
        self.settle()
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
