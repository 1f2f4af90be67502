"""`Exchange`: one request and its answer, on a client's connection."""

from collections.abc import Callable

from aiohttp import StreamReader
from aiohttp.http_parser import RawRequestMessage

from gateway.proxy.client import Client
from gateway.proxy.request_parser import is_last
from gateway.proxy.responses import Response

LITTLE = 262_144
"""Bytes of a body that are rather taken to their end than paid for with a new connection, and its handshake."""


def declared_length(message: RawRequestMessage) -> int | None:
    """Bytes of a request's body, if its head says so."""
    length = message.headers.get("Content-Length")
    return None if length is None else int(length.lstrip("0") or 0)


class Exchange:
    """One request and its answer.

    Attributes:
        message: The request's head, as parsed.
        body: The request's body, as it comes.
        client: Who it came from.
        id: Names the request, here and upstream; empty when it was not read so far.
        keep_alive: Whether the connection can carry another request.
        fields: Of answers of our own to this request, as lines.
        status: The answer's status code; 0 while none of the final answer has been written.
        until_close: Whether the answer is framed by the end of the connection.
        on_gone: Called when the client is gone before the answer is complete.
    """

    __slots__ = ("body", "client", "fields", "id", "keep_alive", "message", "on_gone", "status", "until_close")

    def __init__(self, message: RawRequestMessage, body: StreamReader, client: Client) -> None:
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
        """Whether connections to upstreams are pinned to the client's; see `pinned_connections`."""
        return self.client.pinned is not None and not self.client.pinned.off

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
        self.client.abort(reset=self.until_close)  # an ordinary close would end the response

    def lose_client(self, error: BaseException) -> None:
        """The client is gone."""
        self.body.set_exception(error)
        if self.on_gone is not None:
            self.on_gone()
