"""A request as the gateway reads it: plain facts, and the head that goes upstream.

One reading: what is matched, charged and forwarded comes from here, and is read once.
"""

import re
from collections.abc import Sequence
from itertools import count
from secrets import token_hex

from aiohttp import HttpVersion10, HttpVersion11
from aiohttp.hdrs import AUTHORIZATION, PROXY_AUTHORIZATION

from gateway.limits.address import LOOPBACK, belongs
from gateway.proxy.exchange import Exchange, declared_length
from gateway.proxy.headers import RequestHeaders, names_connection_scheme
from gateway.proxy.responses import BAD_REQUEST, METHOD_NOT_ALLOWED, VERSION_NOT_SUPPORTED, Response
from gateway.proxy.target import Target, parse_target
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin

_NEVER_FORWARDED = frozenset({"CONNECT", "TRACE"}) | frozenset(
    [
        "ANNOUNCE",
        "DESCRIBE",
        "FLUSH",
        "GET_PARAMETER",
        "PAUSE",
        "PLAY",
        "RECORD",
        "REDIRECT",
        "SETUP",
        "SET_PARAMETER",
        "SOURCE",
        "TEARDOWN",
    ]
)
"""A tunnel through us would get round every rule; TRACE would hand out what proxies in front of us have added. The
others are RTSP's and Icecast's, which the parser takes for HTTP."""

_CREDENTIALS = (b"authorization", b"proxy-authorization")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._+=/-]{1,128}", re.ASCII)


class RequestHead:
    """The head of one request.

    Attributes:
        method: As it came.
        target: Host and path.
        id: Names the request in logs, here and upstream.
        length: Bytes of its body, if it says so beforehand.
    """

    __slots__ = ("_exchange", "_reader", "id", "length", "method", "target")

    def __init__(self, exchange: Exchange, target: Target, reader: "RequestReader") -> None:
        message = exchange.message
        self._exchange = exchange
        self._reader = reader
        self.method = message.method
        self.target = target
        self.id = exchange.id = reader.identify(exchange)
        self.length = declared_length(message)

    def to(self, upstream: Upstream, origin: Origin) -> bytes:
        """The head as it goes to one address of an upstream, with the empty line that ends it."""
        message, target = self._exchange.message, self.target
        host = target.authority if upstream.host == "client" and target.authority else origin.authority
        first = f"{self.method} {target.origin_form} HTTP/1.1\r\nHost: {host}\r\n{self._provenance()}"
        lines = self._reader.fields.pass_on(message.raw_headers, trusted=self._exchange.client.peer.trusted)
        lines.insert(0, first.encode(errors="surrogateescape"))
        if message.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length is not None:
            lines.append(b"Content-Length: %d" % self.length)
        if self.wants_websocket:
            lines.append(b"Connection: upgrade\r\nUpgrade: websocket")
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    @property
    def wants_websocket(self) -> bool:
        """Whether the client asks to switch to WebSocket (RFC 6455 section 4.1); other protocols are not offered."""
        message = self._exchange.message
        return (
            message.upgrade
            and self.method == "GET"
            and message.version == HttpVersion11
            and message.headers.get("Upgrade", "").lower() == "websocket"
        )

    @property
    def authenticates_connection(self) -> bool:
        """Whether it has credentials of a scheme that authenticates the whole connection to the upstream."""
        message = self._exchange.message
        if AUTHORIZATION not in message.headers and PROXY_AUTHORIZATION not in message.headers:
            return False
        return any(
            names_connection_scheme(value) for name, value in message.raw_headers if name.lower() in _CREDENTIALS
        )

    @property
    def may_be_anybodys(self) -> bool:
        """Whether the next request on the same connection may be another user's: it comes from a proxy.

        Trusted proxies are taken for such. Those on this machine are, if they say so: programs on it are trusted, too.
        """
        exchange = self._exchange
        if not exchange.client.peer.trusted:
            return False
        fields = self._reader.fields
        return not belongs(exchange.client.peer.address, LOOPBACK) or fields.speak_for_another(
            exchange.message.raw_headers
        )

    def _provenance(self) -> str:
        """Where the request came from. What a trusted proxy says of it is kept; what a stranger says is replaced."""
        client, host = self._exchange.client, self.target.authority
        proto, hops = client.peer.scheme, list[str]()
        if client.peer.trusted:
            headers = self._exchange.message.headers
            hops += headers.getall("X-Forwarded-For", ())
            proto = headers.get("X-Forwarded-Proto") or proto
            host = headers.get("X-Forwarded-Host") or host
        if client.peer.source:
            hops.append(client.peer.source)
        text = f"X-Forwarded-For: {', '.join(hops)}\r\nX-Forwarded-Proto: {proto}\r\nX-Request-ID: {self.id}"
        return f"{text}\r\nX-Forwarded-Host: {host}" if host else text


class RequestReader:
    """Reads requests.

    Args:
        identity: Names of the fields in which a trusted proxy says who the caller is.
        credentials: Names of the fields with which callers show it themselves, a token or a key.
    """

    __slots__ = ("_credentials", "_ids", "_run", "_told", "fields")

    def __init__(self, identity: Sequence[str], credentials: Sequence[str] = ()) -> None:
        self.fields = RequestHeaders(identity, credentials)
        self._credentials = tuple(credentials)
        self._told = (*credentials, *identity)
        self._run = token_hex(8)
        self._ids = count(1)

    def read(self, exchange: Exchange) -> RequestHead | Response:
        """The head of a request, or the answer to a request that is not to be served."""
        message = exchange.message
        if message.version not in (HttpVersion11, HttpVersion10):
            return VERSION_NOT_SUPPORTED
        if message.method in _NEVER_FORWARDED:
            return METHOD_NOT_ALLOWED
        coding = message.headers.get("Transfer-Encoding")
        if coding is not None and (coding.lower() != "chunked" or message.version == HttpVersion10):
            return BAD_REQUEST  # RFC 9112 section 6.1: a coding we would lose, or framing that HTTP/1.0 does not have
        if self._names_two_callers(exchange):
            return BAD_REQUEST
        target = parse_target(message.path, message.headers.getall("Host", ()))
        return BAD_REQUEST if target is None else RequestHead(exchange, target, self)

    def _names_two_callers(self, exchange: Exchange) -> bool:
        """Whether a field that goes upstream and says who the caller is stands twice.

        Servers disagree on which of the two counts, and who is charged has to be whom they see.
        """
        getall = exchange.message.headers.getall
        for name in self._told if exchange.client.peer.trusted else self._credentials:
            if len(getall(name, ())) > 1:
                return True
        return False

    def identify(self, exchange: Exchange) -> str:
        """The id a trusted proxy has given the request, or a new one: unique without a draw of randomness each time."""
        told = exchange.message.headers.get("X-Request-ID") if exchange.client.peer.trusted else None
        return told if told and _REQUEST_ID.fullmatch(told) else f"{self._run}-{next(self._ids):x}"
