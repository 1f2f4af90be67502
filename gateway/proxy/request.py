"""`RequestHead`: the head of a request, read once for matching, charging and forwarding."""

from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import HttpVersion10
from multidict import istr

from gateway.limits.address import LOCAL, UNIX, belongs
from gateway.limits.endpoint import METHODS
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.exchange import Exchange
from gateway.proxy.header_names import (
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
    VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
)
from gateway.proxy.headers import OVER_LIMIT_HEADER, RequestHeaders, names_connection_scheme
from gateway.proxy.original_request import OriginalRequest, ReadOriginal, read_own
from gateway.proxy.target import Target, parse_target
from gateway.proxy.via import Via
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin

_CREDENTIALS: Final = (b"authorization", b"proxy-authorization")


class RequestHead:
    """The head of one request.

    Attributes:
        method: As the client sent it.
        target: Host and path.
        id: The request's id in logs, here and upstream.
        length: Its Content-Length, in bytes; None if it has none.
    """

    __slots__ = ("_exchange", "_reader", "id", "length", "method", "target")

    def __init__(self, exchange: Exchange, original: OriginalRequest, target: Target, reader: "RequestReader") -> None:
        self._exchange = exchange
        self._reader = reader
        self.method = original.method
        self.target = target
        self.id = exchange.id
        self.length = original.length

    def encode(self, upstream: Upstream, origin: Origin) -> bytes:
        """The head for one address of an upstream, with the empty line that ends it."""
        message, target = self._exchange.message, self.target
        host = target.authority if upstream.host == "client" and target.authority else origin.authority
        first = f"{self.method} {target.origin_form} HTTP/1.1\r\nHost: {host}\r\n{self._forwarded_headers()}"
        lines = self._reader.headers.forward(message.raw_headers, trusted=self._exchange.client.peer.trusted)
        lines.insert(0, first.encode(errors="surrogateescape"))
        if self._exchange.over is not None and (told := self._exchange.over.told):
            lines.append(f"{OVER_LIMIT_HEADER}: {', '.join(told)}".encode())
        if message.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length is not None:
            lines.append(b"Content-Length: %d" % self.length)
        if self.wants_websocket:
            lines.append(b"Connection: upgrade\r\nUpgrade: websocket")
        lines.append(self._end(lines))
        return b"\r\n".join(lines)

    def _end(self, lines: list[bytes]) -> bytes:
        """Our Via header, with those that came before it, and the empty line that ends the head."""
        via, message = self._reader.via, self._exchange.message
        if via is None:
            return b"\r\n"
        if VIA not in message.headers:
            return via.end_of_head(message)
        lines[:] = [line for line in lines if line[:4].lower() != b"via:"]
        return via.append(message.headers.getall(VIA), message)

    @property
    def query(self) -> str:
        """The query as the client sent it, without the question mark."""
        return self.target.query

    def header(self, name: str) -> Sequence[str]:
        """All values of a header, named in lower case, that go upstream: conditions see what the upstream sees."""
        message = self._exchange.message
        values: Sequence[str] = message.headers.getall(name, ())
        trusted = self._exchange.client.peer.trusted
        if values and self._reader.headers.forwards(name.encode(), message.raw_headers, trusted=trusted):
            return values
        return ()

    @property
    def wants_websocket(self) -> bool:
        """Whether the client asks to switch to WebSocket (RFC 6455 section 4.1); other protocols are not offered."""
        message = self._exchange.message
        return (
            message.upgrade
            and self.method == "GET"
            and message.is_http11
            and message.headers.get(UPGRADE, "").lower() == "websocket"
        )

    @property
    def authenticates_connection(self) -> bool:
        """Whether its credentials authenticate the whole connection to the upstream (RFC 4559 section 6)."""
        message = self._exchange.message
        if AUTHORIZATION not in message.headers and PROXY_AUTHORIZATION not in message.headers:
            return False
        return any(
            names_connection_scheme(value) for name, value in message.raw_headers if name.lower() in _CREDENTIALS
        )

    @property
    def is_on_a_shared_connection(self) -> bool:
        """Whether the next request on the same connection may be another user's, because a proxy sends them.

        This is assumed of every trusted proxy. A trusted peer on this machine may also be a client, so its headers
        have to show that it sends the request for somebody else.
        """
        peer, message = self._exchange.client.peer, self._exchange.message
        if not peer.trusted:
            return False
        return not belongs(peer.address, LOCAL) or self._reader.headers.show_another_client(message.raw_headers)

    def _forwarded_headers(self) -> str:
        """X-Forwarded-* and X-Request-ID. A trusted proxy's values are kept, those of other clients are replaced."""
        peer, host = self._exchange.client.peer, self.target.authority
        proto = peer.scheme
        hops: list[str] = []
        if peer.trusted:
            headers = self._exchange.message.headers
            hops += headers.getall(X_FORWARDED_FOR, ())
            proto = headers.get(X_FORWARDED_PROTO) or proto
            host = headers.get(X_FORWARDED_HOST) or host
        if peer.source and peer.address is not UNIX:  # `!=` would have ipaddress compare
            hops.append(peer.source)
        text = f"X-Forwarded-Proto: {proto}\r\nX-Request-ID: {self.id}"
        if hops:
            text = f"X-Forwarded-For: {', '.join(hops)}\r\n{text}"
        return f"{text}\r\nX-Forwarded-Host: {host}" if host else text


def _ignore(_: str) -> None:
    """Report to nobody."""


class RequestReader:
    """Reads the heads of requests, and rejects those that must not be served.

    Args:
        identity: Names of the headers in which a trusted proxy names the caller.
        credentials: Names of the headers with callers' own credentials: a token or a key.
        proxy_headers: Names of more headers that only a trusted proxy may set.
        via: The gateway's own Via header; without it, requests go on with the one they came with, and loops are not
            detected.
        looped: Called with the Via header of a request that has passed this gateway before.
        dropped: Called with the name of a header that is not forwarded because of its underscore; not each time.
        read_original: Reads what a request is for.

    Attributes:
        headers: Selects the headers that go upstream.
        via: As above.
    """

    __slots__ = ("_credentials", "_identifying", "_looped", "_read_original", "headers", "via")

    def __init__(
        self,
        identity: Sequence[str],
        credentials: Sequence[str] = (),
        proxy_headers: Sequence[str] = (),
        via: Via | None = None,
        looped: Callable[[str], None] = _ignore,
        dropped: Callable[[str], None] = _ignore,
        read_original: ReadOriginal = read_own,
    ) -> None:
        self.headers = RequestHeaders(identity, credentials, proxy_headers, dropped)
        self.via = via
        self._looped = looped
        self._read_original = read_original
        self._credentials = tuple(map(istr, credentials))
        self._identifying = (*self._credentials, *map(istr, identity))

    def read(self, exchange: Exchange) -> RequestHead | BadRequest:
        """The head of a request, or why it must not be served."""
        if (cause := self._find_fault(exchange)) is not None:
            return cause
        original = self._read_original(exchange.message)
        if not isinstance(original, OriginalRequest):
            return original
        if original.method not in METHODS:
            return BadRequest.METHOD
        target = parse_target(original.target, original.hosts)
        return RequestHead(exchange, original, target, self) if isinstance(target, Target) else target

    def _find_fault(self, exchange: Exchange) -> BadRequest | None:
        """What is wrong with a request, whatever it is for."""
        message = exchange.message
        if not message.is_http11 and message.version != HttpVersion10:
            return BadRequest.VERSION
        coding = message.headers.get(TRANSFER_ENCODING)
        if coding is not None and (coding.lower() != "chunked" or not message.is_http11):
            # RFC 9112 section 6.1: forwarding would lose the coding, or HTTP/1.0 has none
            return BadRequest.TRANSFER_CODING
        if self._names_two_callers(exchange):
            return BadRequest.TWO_CALLERS
        if self.via is not None and VIA in message.headers and self.via.is_in(values := message.headers.getall(VIA)):
            self._looped(", ".join(values))
            return BadRequest.LOOP
        return None

    def _names_two_callers(self, exchange: Exchange) -> bool:
        """Whether a header that identifies the caller appears twice.

        Servers disagree on which of the two counts, but the caller that is charged must be the one that they see.
        """
        getall = exchange.message.headers.getall
        for name in self._identifying if exchange.client.peer.trusted else self._credentials:
            if len(getall(name, ())) > 1:
                return True
        return False
