"""Header hygiene: what of a message's head is meant for the next hop only, and what we say ourselves.

* Hop-by-hop fields (RFC 9110 section 7.6.1) end here, and so does whatever Connection names, save fields that others
  rely on: a client cannot have X-Forwarded-For or its own identity removed by naming it.
* Names with an underscore are dropped: CGI-like servers cannot tell ``X_User_Id`` from ``X-User-Id``.
* Framing (Content-Length, Transfer-Encoding) is written anew from what was parsed, never copied.
* From a peer that is not a trusted proxy, fields that only a proxy may set are dropped. With X-Original-URL alone, a
  client would reach one path of some upstreams at the price of another.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus

RawFields = Iterable[tuple[bytes, bytes]]

BYPASS_HEADER = "X-Gateway-Bypass"
"""Holds a token with scope ``bypass``. It is never forwarded to an upstream."""

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"})
_OURS = frozenset({BYPASS_HEADER.lower().encode()})
_PROXY_ONLY = frozenset(
    b"forwarded x-real-ip x-forwarded x-forwarded-by x-forwarded-path x-forwarded-port x-forwarded-prefix "
    b"x-forwarded-protocol x-forwarded-scheme x-forwarded-server x-forwarded-ssl x-forwarded-uri x-url-scheme "
    b"front-end-https client-ip true-client-ip cf-connecting-ip fastly-client-ip x-client-ip x-cluster-client-ip "
    b"x-originating-ip x-original-forwarded-for x-original-host x-original-url x-rewrite-url x-remote-addr "
    b"x-remote-ip x-remote-user x-host".split()
)
"""Said by some proxies to their servers: where a request came from, and which URL it was for before they rewrote it."""

_TRACE_CONTEXT = frozenset({b"traceparent", b"tracestate"})
_RELIED_ON = (
    frozenset({b"host", b"content-length", b"authorization", b"cookie", b"expect"}) | _PROXY_ONLY | _TRACE_CONTEXT
)
_OPTIONS = frozenset({b"", b"keep-alive", b"close"})
_CHALLENGES = frozenset({b"www-authenticate", b"proxy-authenticate", b"persistent-auth"})
_CONNECTION_SCHEME = re.compile(rb"(?:^|[\s,])(?:ntlm|negotiate|nego2|kerberos)(?=$|[\s,=])", re.IGNORECASE)
"""Looked for in any place of a list: to take another word for it costs a connection, to miss it somebody's rights."""

_RATE_LIMITS = (b"ratelimit", b"x-ratelimit", b"x-rate-limit")


def named_by_connection(values: Iterable[bytes]) -> frozenset[bytes]:
    """The fields that Connection fields name, in lower case."""
    names = {option.strip(b" \t").lower() for value in values for option in value.split(b",")}
    return frozenset(names - _OPTIONS)


class RequestHeaders:
    """Makes the head that goes upstream.

    Args:
        identity: Names of the fields that say who the caller is; a client that is no trusted proxy cannot send them,
            and no client can have them dropped.
        credentials: Names of the fields with which callers show who they are; no client can have them dropped.
    """

    __slots__ = ("_always", "_for_another", "_from_strangers", "_kept")

    def __init__(self, identity: Iterable[str], credentials: Iterable[str] = ()) -> None:
        ours = frozenset(name.lower().encode() for name in identity)
        self._always = _HOP_BY_HOP | _FORWARDED | _OURS | {b"host", b"content-length"}
        self._from_strangers = self._always | _PROXY_ONLY | ours
        self._for_another = _PROXY_ONLY | ours | _FORWARDED | {b"via"}
        self._kept = _RELIED_ON | ours | {name.lower().encode() for name in credentials}

    def speak_for_another(self, fields: RawFields) -> bool:
        """Whether a trusted peer says by them that a request is not its own."""
        return any(name.lower() in self._for_another for name, _ in fields)

    def pass_on(self, fields: RawFields, *, trusted: bool) -> list[bytes]:
        """The client's own fields that go upstream, as lines without their line ends."""
        dropped = self._always if trusted else self._from_strangers
        named: frozenset[bytes] = frozenset()
        lines = []
        for name, value in fields:
            lower = name.lower()
            if lower in dropped or b"_" in lower:
                if lower == b"connection":
                    named |= named_by_connection((value,))
                continue
            lines.append(b"%b: %b" % (name, value))
        named -= self._kept
        if named:
            return [line for line in lines if line.partition(b":")[0].lower() not in named]
        return lines


def response_lines(
    fields: Iterable[tuple[bytes, bytes]], status: int, *, keep_rate_limits: bool
) -> tuple[list[bytes], bool]:
    """Pick out of an upstream's answer what goes to the client.

    Returns:
        The fields, as lines without their line ends; Content-Length is not of them. And whether they speak of
        authentication that holds for the whole connection.
    """
    named: frozenset[bytes] = frozenset()
    lines = []
    bound = False
    for name, value in fields:
        if not _is_plain(name):
            lower = name.lower()
            if lower == b"connection" and value not in _OPTIONS:
                named |= named_by_connection((value,))
            if lower in _HOP_BY_HOP or lower == b"content-length":
                continue
            if lower in _CHALLENGES:
                bound = bound or lower == b"persistent-auth" or names_connection_scheme(value)
            elif not keep_rate_limits and (lower != b"retry-after" or status == HTTPStatus.TOO_MANY_REQUESTS):
                continue
        lines.append(b"%b: %b" % (name, value))
    if named:
        lines = [line for line in lines if line.partition(b":")[0].lower() not in named]
    return lines, bound


def names_connection_scheme(value: bytes) -> bool:
    """Whether credentials or challenges are of a scheme that authenticates the connection (RFC 4559 section 6).

    One field may have several challenges.
    """
    return _CONNECTION_SCHEME.search(value) is not None


@lru_cache(maxsize=1024)
def _is_plain(name: bytes) -> bool:
    """Whether a field of an answer goes to the client whatever else there is."""
    lower = name.lower()
    special = lower in _HOP_BY_HOP or lower in _CHALLENGES or lower in {b"content-length", b"retry-after"}
    return not special and not lower.startswith(_RATE_LIMITS)
