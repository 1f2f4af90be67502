"""The request target and Host: which host and path a request is for, and what to send upstream.

RFC 9112 section 3.2: the usual origin-form (``/path?query``) has the path, and the host is in the Host header; the
absolute-form (``http://host/path``) has both, and its host replaces the header. CONNECT's authority-form and the
asterisk of OPTIONS name no resource that is served.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from gateway.proxy.bad_request import BadRequest

_AUTHORITY: Final = re.compile(
    r"(?P<host>[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5})?)?",
    re.ASCII,
)
_ABSOLUTE: Final = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE)


@dataclass(init=False, slots=True)
class Target:
    """The host and path that a request is for.

    Attributes:
        host: In lower case, without port and trailing dot; empty if the request has none.
        path: As the client sent it, without the query.
        query: As the client sent it, without the question mark; empty if there is none.
        origin_form: Path and query as the client sent them, for the upstream.
        authority: Host and port as the client sent them, for the upstream's Host header.
    """

    host: Final[str]
    path: Final[str]
    query: Final[str]
    origin_form: Final[str]
    authority: Final[str]

    def __init__(self, host: str, path: str, query: str, origin_form: str, authority: str) -> None:
        self.host = host
        self.path = path
        self.query = query
        self.origin_form = origin_form
        self.authority = authority


@lru_cache(maxsize=1024)
def parse_host(authority: str) -> str | None:
    """The host in a Host header, in lower case, without port and trailing dot; None if it is invalid (RFC 9110 7.2).

    An IPv6 address is returned in its shortest form, as in rules.
    """
    form = _AUTHORITY.fullmatch(authority)
    if form is None or (form["port"] and int(form["port"]) > 65_535):  # noqa: PLR2004 - the largest port
        return None
    host: str = form["host"]
    if host[0] == "[":
        try:
            return f"[{IPv6Address(host[1:-1])}]"
        except ValueError:
            return None
    return host.lower().rstrip(".") or None


def parse_target(raw: str, hosts: Sequence[str]) -> Target | BadRequest:
    """Parse a request target.

    Args:
        raw: The target in the request line.
        hosts: The values of all Host headers.

    Returns:
        What is wrong, if the target or Host is invalid, or names nothing that is served.
    """
    if len(hosts) > 1:
        return BadRequest.HOST
    if "#" in raw or not (raw.isascii() and raw.isprintable()):
        return BadRequest.TARGET
    authority = hosts[0] if hosts else ""
    host = parse_host(authority) if authority else ""
    if host is None:
        return BadRequest.HOST
    if raw[0] != "/":
        absolute = _ABSOLUTE.fullmatch(raw)
        if absolute is None:
            return BadRequest.TARGET
        authority, raw = absolute[1], absolute[2]
        host = parse_host(authority)
        if host is None:
            return BadRequest.TARGET
        if raw[:1] != "/":
            raw = f"/{raw}"
    path, _, query = raw.partition("?")
    return Target(host, path, query, raw, authority)
