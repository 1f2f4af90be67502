"""`Exchange`: one request and its response, on a client connection."""

from collections.abc import Callable
from typing import Final

from aiohttp import StreamReader

from gateway.limiter.verdict import OverLimits
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.client import Client
from gateway.proxy.header_names import CONTENT_LENGTH, EXPECT
from gateway.proxy.meter import Meter
from gateway.proxy.request_id import RequestIds
from gateway.proxy.request_message import RequestMessage
from gateway.proxy.responses import Response

CHEAP_DISCARD: Final = 262_144
"""Bytes of a body up to which discarding them is cheaper than a new connection with its handshake."""


def declared_length(message: RequestMessage) -> int | None:
    """The Content-Length of a request, in bytes; None if it has none."""
    length = message.headers.get(CONTENT_LENGTH)
    return None if length is None else int(length.lstrip("0") or 0)


class Exchange:
    """One request and its response.

    Attributes:
        message: The request's head.
        body: The request's body, as a stream.
        client: Where it came from.
        id: The request's id, here and upstream.
        id_line: The X-Request-ID header line of the response; empty if responses have none.
        reason: Why the gateway itself responds with an error, as a label; empty if it does not.
        over: The limits that the request is over; None if it is over none.
        meter: Finds what the request costs; None if that is known from the start.
        keep_alive: Whether the connection can carry another request.
        extra_headers: Header lines for a response of the gateway's own.
        was_sent: Whether any of it was sent to an upstream.
        status: The response's status code; 0 until a part of the final response has been written.
        until_close: Whether the response is delimited by the end of the connection.
        on_gone: Called when the connection is lost before the response is complete.
    """

    __slots__ = (
        "body",
        "client",
        "extra_headers",
        "id",
        "id_line",
        "keep_alive",
        "message",
        "meter",
        "on_gone",
        "over",
        "reason",
        "status",
        "until_close",
        "was_sent",
    )

    def __init__(self, message: RequestMessage, body: StreamReader, client: Client, ids: RequestIds) -> None:
        self.message = message
        self.body = body
        self.client = client
        self.id = ids.identify(message.headers, trusted=client.peer.trusted)
        self.id_line = ids.line(self.id)
        self.reason = ""
        self.over: OverLimits | None = None
        self.meter: Meter | None = None
        self.keep_alive = not message.is_last
        self.extra_headers = b""
        self.was_sent = False
        self.status = 0
        self.until_close = False
        self.on_gone: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        """Send bytes of the response; does nothing if the connection is lost."""
        self.client.write(data)

    @property
    def pins_connections(self) -> bool:
        """Whether connections to upstreams are pinned to the client connection; see `pinned_connections`."""
        return self.client.pinned is not None and not self.client.pinned.off

    @property
    def withholds_body(self) -> bool:
        """Whether the client may choose not to send the body: it expects 100 Continue and has sent none of it."""
        return EXPECT in self.message.headers and not self.body.total_bytes and not self.body.is_eof()

    def decide_keep_alive(self, *, body_is_taken: bool = False) -> None:
        """Decide, before the head of the response is written, whether the connection stays open after it.

        A response may come before the whole body has. Then the rest is read and discarded, or the response must say
        that the connection closes (RFC 9112 section 9.6): otherwise the client's next request would be lost.

        Args:
            body_is_taken: Whether the upstream reads the body to its end, since it does not close its connection.
        """
        if not self.keep_alive or self.body.is_eof():
            return
        if self.withholds_body:
            self.keep_alive = False  # the body or another request may follow (RFC 9110 section 10.1.1)
            return
        length = declared_length(self.message)
        left = None if length is None else length - self.body.total_bytes
        most = self.client.intake.max_discard if body_is_taken else CHEAP_DISCARD
        self.keep_alive = body_is_taken if left is None else left <= most

    def respond(self, response: Response) -> None:
        """Send a response of the gateway's own. Whether the connection stays open, `decide_keep_alive` says."""
        self.decide_keep_alive()
        response = self.client.rephrase(response)
        self.status = response.status
        headers, bodiless = self.extra_headers + self.id_line, self.message.method == "HEAD"
        self.write(response.encode(headers, bodiless=bodiless, close=not self.keep_alive))

    def respond_and_close(self, response: Response) -> None:
        """Send a response of the gateway's own and close: what follows on this connection cannot be trusted."""
        self.keep_alive = False
        self.respond(response)

    def reject(self, cause: BadRequest) -> None:
        """Respond to a request that the gateway does not serve, and close."""
        self.reason = cause.reason
        self.respond_and_close(cause.response)

    def abort(self) -> None:
        """Abort the connection, so that a truncated response is not taken for a complete one."""
        self.keep_alive = False
        self.client.abort(reset=self.until_close)  # an ordinary close would complete the response

    def lose_client(self, error: BaseException) -> None:
        """The connection is lost: stop whatever the exchange waits for."""
        self.body.set_exception(error)
        if self.on_gone is not None:
            self.on_gone()
