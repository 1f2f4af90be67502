"""Headers: which of them are forwarded, to upstreams and to clients.

* Hop-by-hop headers (RFC 9110 section 7.6.1) are removed, and so are those that Connection names, except the ones that
  upstreams rely on: a client cannot have X-Forwarded-For or its own identity removed by naming it.
* Names with an underscore are removed: CGI-like servers cannot tell ``X_User_Id`` from ``X-User-Id``.
* Framing (Content-Length, Transfer-Encoding) is written from what was parsed, never copied.
* From a peer that is not a trusted proxy, headers that only a proxy may set are removed. With X-Original-URL, for
  example, a client would reach one path of some upstreams at the price of another.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final

from gateway.proxy.name_memo import NameMemo
from gateway.proxy.proxy_headers import ProxyHeaders, fold

RawHeaders = Iterable[tuple[bytes, bytes]]

BYPASS_HEADER: Final = "X-Gateway-Bypass"
"""Has a token with scope ``bypass``. It is never forwarded to an upstream."""

OVER_LIMIT_HEADER: Final = "X-Over-Limit"
"""Tells an upstream which limits with ``over: tell`` a request is over. Nobody but the gateway can send it."""

_OVER_LIMIT: Final = OVER_LIMIT_HEADER.lower().encode()
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_REPLACED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"})
_NEVER_FORWARDED: Final = frozenset({BYPASS_HEADER.lower().encode()})
_TRACE_CONTEXT: Final = frozenset({b"traceparent", b"tracestate"})
_NEVER_REMOVED: Final = frozenset({b"host", b"content-length", b"authorization", b"cookie", b"expect"}) | _TRACE_CONTEXT
_OPTIONS: Final = frozenset({b"", b"keep-alive", b"close"})
_CHALLENGES: Final = frozenset({b"www-authenticate", b"proxy-authenticate", b"persistent-auth"})
_CONNECTION_SCHEME: Final = re.compile(rb"(?:^|[\s,])(?:ntlm|negotiate|nego2|kerberos)(?=$|[\s,=])", re.IGNORECASE)
"""Searched for anywhere in a list: a false match costs a connection, a miss gives away somebody's rights."""

_SPECIAL: Final = _HOP_BY_HOP | _CHALLENGES | {_OVER_LIMIT, b"content-length", b"retry-after", b"x-request-id"}
_REMOVED_FROM_RESPONSES: Final = _HOP_BY_HOP | {b"content-length", _OVER_LIMIT}
_RATE_LIMITS: Final = (b"ratelimit", b"x-ratelimit", b"x-rate-limit")


def _find_special(name: bytes) -> bytes:
    lower = name.lower()
    return lower if lower in _SPECIAL or lower.startswith(_RATE_LIMITS) else b""


SPECIAL_NAMES: Final = NameMemo(_find_special)
"""The lower-case form of names whose headers say how a response is framed, or do not go to the client unconditionally;
empty for all others."""


def named_by_connection(values: Iterable[bytes]) -> frozenset[bytes]:
    """The names of headers in Connection headers, in lower case."""
    names = {option.strip(b" \t").lower() for value in values for option in value.split(b",")}
    return frozenset(names - _OPTIONS)


class RequestHeaders:
    """Selects the headers of a request that go upstream.

    Args:
        identity: Names of the headers that name the caller; a client that is not a trusted proxy cannot send them, and
            no client can have them removed.
        credentials: Names of the headers with callers' credentials; no client can have them removed.
        proxy_headers: Names of more headers that only a trusted proxy may set, see `ProxyHeaders`.
        dropped: Called with a name that is removed because of its underscore; after other names, perhaps with the same
            one again.
    """

    __slots__ = ("_is_removed", "_is_removed_if_untrusted", "_kept", "_proxy_headers")

    def __init__(
        self,
        identity: Sequence[str],
        credentials: Sequence[str] = (),
        proxy_headers: Sequence[str] = (),
        dropped: Callable[[str], None] = lambda _: None,
    ) -> None:
        set_by_proxies = ProxyHeaders((*identity, *proxy_headers), set(credentials) - set(identity))
        removed = _HOP_BY_HOP | _REPLACED | _NEVER_FORWARDED | {b"host", b"content-length"}
        self._proxy_headers = set_by_proxies
        self._kept = _NEVER_REMOVED | {name.lower().encode() for name in credentials}

        def is_removed(name: bytes) -> bool:
            lower = name.lower()
            if b"_" in lower:
                dropped(name.decode(errors="replace"))
                return True
            return lower in removed or fold(lower) == _OVER_LIMIT

        self._is_removed = NameMemo(is_removed)
        self._is_removed_if_untrusted = NameMemo(lambda name: is_removed(name) or name.lower() in set_by_proxies)

    def show_another_client(self, headers: RawHeaders) -> bool:
        """Whether these headers of a trusted peer show that it sends the request for another client."""
        lowers = (name.lower() for name, _ in headers)
        return any(lower in _REPLACED or lower == b"via" or lower in self._proxy_headers for lower in lowers)

    def forwards(self, name: bytes, headers: RawHeaders, *, trusted: bool) -> bool:
        """Whether a header, named in lower case, goes upstream if the client sends it with these headers."""
        if (self._is_removed if trusted else self._is_removed_if_untrusted).get(name):
            return False
        if name in self._kept or name in self._proxy_headers:
            return True
        return name not in named_by_connection(value for other, value in headers if other.lower() == b"connection")

    def forward(self, headers: RawHeaders, *, trusted: bool) -> list[bytes]:
        """The client's headers that go upstream, as lines without line ends."""
        is_removed = self._is_removed if trusted else self._is_removed_if_untrusted
        named: frozenset[bytes] = frozenset()
        lines = []
        for name, value in headers:
            if is_removed.get(name):
                if name.lower() == b"connection":
                    named |= named_by_connection((value,))
                continue
            lines.append(b": ".join((name, value)))
        if named:
            named = frozenset(name for name in named if name not in self._kept and name not in self._proxy_headers)
            return [line for line in lines if line.partition(b":")[0].lower() not in named]
        return lines


def response_lines(headers: RawHeaders, status: int, *, keep_rate_limits: bool) -> tuple[list[bytes], bool, bool]:
    """Select the headers of an upstream's response that go to the client.

    Returns:
        The headers, as lines without line ends and without Content-Length; whether they authenticate the whole
        connection, or ask for that; and whether the upstream itself names the request.
    """
    named: frozenset[bytes] = frozenset()
    lines = []
    authenticates = is_named = False
    for name, value in headers:
        if lower := SPECIAL_NAMES.get(name):
            if lower == b"connection" and value not in _OPTIONS:
                named |= named_by_connection((value,))
            if lower in _REMOVED_FROM_RESPONSES:
                continue
            if lower == b"x-request-id":
                is_named = True
            elif lower in _CHALLENGES:
                authenticates = authenticates or lower == b"persistent-auth" or names_connection_scheme(value)
            elif not keep_rate_limits and (lower != b"retry-after" or status == HTTPStatus.TOO_MANY_REQUESTS):
                continue
        lines.append(b": ".join((name, value)))
    if named:
        lines = [line for line in lines if line.partition(b":")[0].lower() not in named]
    return lines, authenticates, is_named


def names_connection_scheme(value: bytes) -> bool:
    """Whether credentials or challenges are of a scheme that authenticates the connection (RFC 4559 section 6).

    One header may have several challenges.
    """
    return _CONNECTION_SCHEME.search(value) is not None
