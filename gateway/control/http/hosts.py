"""`Hosts`: under which names the control plane is there, and for which web pages.

A page in an operator's browser can send requests to wherever the browser can connect. Two headers say that it did:

* Host (RFC 9110 section 7.2). With DNS rebinding a page's own name becomes the address of the control listener, and to
  the browser that is the same origin. So other names are refused with a 421 (section 15.5.20). An IP literal cannot be
  rebound: it is accepted, whichever it is, as probes and Prometheus connect to a pod or a published port by address.
  Ports do not matter. No browser leaves Host out, but a health check in HTTP/1.0 may.
* Origin (the Fetch standard, section 3.2). A page of another origin is refused with a 403, unless it is in
  `cors_origins`: it could not read the response, but the request would be carried out.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler

from gateway.auth.cors import Cors
from gateway.control.http.problem import Problem

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::([0-9]{0,5}))?", re.ASCII)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Hosts:
    """Refuses requests to other names, and of pages of other origins.

    Args:
        names: Where the control plane listens, as names or addresses; ``*.example.com`` are all below it, ``*`` is any.
        cors: The origins whose pages may send requests.
    """

    def __init__(self, names: Iterable[str], cors: Cors) -> None:
        known = {_canonical(name) for name in names}
        self._any = "*" in known
        self._exact = frozenset({"localhost", *known})
        self._below = tuple(name[1:] for name in known if name.startswith("*."))
        self._cors = cors

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1 or (not hosts and request.version > HttpVersion10):
            raise Problem(HTTPStatus.BAD_REQUEST, "a request has exactly one Host header")
        for host in hosts:
            self._check_host(host)
        if not request.raw_path.startswith(("/", "*")):  # absolute-form (RFC 9112 section 3.2.2)
            self._check_host(request.url.raw_authority)
        for origin in request.headers.getall("Origin", []):
            if not self._cors.allows(origin) and not _is_same(origin, hosts):
                raise Problem(
                    HTTPStatus.FORBIDDEN,
                    "pages of this origin may not send requests here; cors_origins has the origins that may",
                )
        return await handler(request)

    def knows(self, authority: str) -> bool:
        """Whether the control plane is there under this host, with or without a port."""
        try:
            self._check_host(authority)
        except Problem:
            return False
        return True

    def _check_host(self, authority: str) -> None:
        form = _AUTHORITY.fullmatch(authority)
        if form is None or (form[1] and not _is_ipv6(form[1])):
            raise Problem(HTTPStatus.BAD_REQUEST, "the Host header has no valid host")
        if not self._answers_to(_canonical(form[1] or form[2])):
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "the control listener does not answer to this name; control.hosts has the names that it answers to",
            )

    def _answers_to(self, name: str) -> bool:
        return self._any or name in self._exact or name.endswith(self._below) or _is_address(name)


def _canonical(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        ip_address(text)
        return True
    return False


def _is_ipv6(text: str) -> bool:
    with suppress(ValueError):
        IPv6Address(text)
        return True
    return False


def _is_same(origin: str, hosts: Iterable[str]) -> bool:
    """Whether a page was served under the very host to which it sends its request."""
    scheme, _, authority = origin.partition("://")
    default = f":{_DEFAULT_PORTS.get(scheme, '')}"
    return any(authority.removesuffix(default) == host.lower().removesuffix(default) for host in hosts)
