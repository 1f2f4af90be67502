"""A door: a `Server` on which another proxy asks whether its client's request may pass.

What it asks takes the steps of a request that the gateway forwards, through `Proxy` and everything below. Two parts are
others: what a request is for is read where the proxy says it (`original_request`), and an allowed request is not
forwarded, but permitted (`permit`).
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeAlias

from aiohttp import EMPTY_PAYLOAD

from gateway.auth.identity import credential_headers, identity_headers
from gateway.limits.address import belongs
from gateway.proxy.exchange import Exchange
from gateway.proxy.handler import Proxy
from gateway.proxy.observer import RequestObserver
from gateway.proxy.original_request import (
    ReadOriginal,
    read_bodiless,
    read_x_forwarded,
    read_x_original_uri,
    read_x_original_url,
)
from gateway.proxy.permit import Permit
from gateway.proxy.request import RequestReader
from gateway.proxy.request_id import RequestIds
from gateway.proxy.server import Server
from gateway.settings.door import ForwardAuth, HttpDoor, RequestHeaders
from gateway.settings.gateway import Settings

_READERS: dict[RequestHeaders, ReadOriginal] = {
    "x_forwarded": read_x_forwarded,
    "x_original_uri": read_x_original_uri,
    "x_original_url": read_x_original_url,
}

Handle: TypeAlias = Callable[[Exchange], Awaitable[object]]

Around: TypeAlias = Callable[[Handle], Handle]
"""Wraps what handles requests: with tracing, in a span."""


def door_server(
    door: HttpDoor,
    settings: Settings,
    proxy: Callable[[Permit, RequestReader], Proxy],
    around: Around,
    observer: RequestObserver,
    ids: RequestIds,
) -> Server:
    """Make the server of a door.

    Args:
        door: What is set for it.
        settings: Who identifies callers, and how large a request may be.
        proxy: Makes what handles requests, of what is other at a door.
        around: Traces what handles requests.
        observer: Notified of connections that were rejected.
        ids: Makes the ids of requests.
    """
    who = settings.identity
    read = _READERS[door.request_headers] if isinstance(door, ForwardAuth) else read_bodiless
    reader = RequestReader(identity_headers(who), credential_headers(who), who.proxy_headers, read_original=read)
    handle = around(_close_after_body(proxy(Permit(door.response_headers), reader).handle))
    status = door.refuse_with if isinstance(door, ForwardAuth) else HTTPStatus.TOO_MANY_REQUESTS
    return Server(
        handle,
        settings.intake,
        observer,
        lambda peer: belongs(peer, door.from_),
        ids,
        only_trusted=True,
        refuse_with=None if status == HTTPStatus.TOO_MANY_REQUESTS else HTTPStatus(status),
    )


def _close_after_body(handle: Handle) -> Handle:
    """Let a request that announces a body be the last on its connection.

    The length may be that of the client's body, which the proxy has copied and does not send: then the next request
    would be taken for the body.
    """

    def closing(exchange: Exchange) -> Awaitable[object]:
        if exchange.body is not EMPTY_PAYLOAD:
            exchange.keep_alive = False
        return handle(exchange)

    return closing
