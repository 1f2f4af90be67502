"""`OriginalRequest`: what a request is for, wherever that is said.

A client says it in the request itself. A proxy that asks at a door says it of its client's request, in one of these
ways. Which one counts is a setting, and never depends on what a request has: a proxy passes on headers of its client's,
and a client may send those of another way.

==================  ========================================  =====================================================
who asks            method, target and host                   read by
==================  ========================================  =====================================================
a client, Envoy     the request itself                        `read_own`, `read_bodiless`
Caddy, Traefik      X-Forwarded-Method, -Uri, -Host           `read_x_forwarded`
nginx               X-Original-Method, X-Original-URI, Host   `read_x_original_uri`
ingress-nginx       X-Original-Method, X-Original-URL         `read_x_original_url`, whose target is in absolute form
==================  ========================================  =====================================================

Each header must be there exactly once. Where one is missing, the proxy is not set up to ask here; where one is there
twice, the proxy has added to what its client sent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.proxy.bad_request import BadRequest
from gateway.proxy.exchange import declared_length
from gateway.proxy.header_names import HOST
from gateway.proxy.request_message import RequestMessage


@dataclass(init=False, slots=True)
class OriginalRequest:
    """What a request is for, as it was sent.

    Attributes:
        method: As the client sent it.
        target: Likewise.
        hosts: The values of all Host headers.
        length: The body's Content-Length, in bytes; None if there is none, or at a door, where the body does not come.
    """

    method: Final[str]
    target: Final[str]
    hosts: Final[Sequence[str]]
    length: Final[int | None]

    def __init__(self, method: str, target: str, hosts: Sequence[str], length: int | None = None) -> None:
        self.method = method
        self.target = target
        self.hosts = hosts
        self.length = length


ReadOriginal: TypeAlias = Callable[[RequestMessage], OriginalRequest | BadRequest]


def read_own(message: RequestMessage) -> OriginalRequest:
    """What a request itself says."""
    return OriginalRequest(message.method, message.target, message.headers.getall(HOST, ()), declared_length(message))


def read_bodiless(message: RequestMessage) -> OriginalRequest:
    """The same of a request that stands for a client's, whose body does not come here."""
    return OriginalRequest(message.method, message.target, message.headers.getall(HOST, ()))


def read_x_forwarded(message: RequestMessage) -> OriginalRequest | BadRequest:
    """What the X-Forwarded headers of a forward authentication say."""
    method, path = _one(message, "X-Forwarded-Method"), _one(message, "X-Forwarded-Uri")
    return _described(method, path, _one(message, "X-Forwarded-Host"))


def read_x_original_uri(message: RequestMessage) -> OriginalRequest | BadRequest:
    """What nginx says that sets X-Original-Method, X-Original-URI and Host."""
    return _described(_one(message, "X-Original-Method"), _one(message, "X-Original-URI"), _one(message, "Host"))


def read_x_original_url(message: RequestMessage) -> OriginalRequest | BadRequest:
    """What ingress-nginx says in X-Original-Method and X-Original-URL; the Host is that of the URL of the door."""
    method, url = _one(message, "X-Original-Method"), _one(message, "X-Original-URL")
    return OriginalRequest(method, url, ()) if method and url and url[0] != "/" else BadRequest.NOT_DESCRIBED


def _described(method: str | None, path: str | None, host: str | None) -> OriginalRequest | BadRequest:
    """A request whose target a proxy says in origin form; it reads the absolute form of clients itself."""
    if method and path and host:
        return OriginalRequest(method, path, (host,)) if path[0] == "/" else BadRequest.TARGET
    return BadRequest.NOT_DESCRIBED


def _one(message: RequestMessage, name: str) -> str | None:
    values: Sequence[str] = message.headers.getall(name, ())
    return values[0] if len(values) == 1 else None
