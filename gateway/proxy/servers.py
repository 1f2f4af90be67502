"""`open_servers`: what serves clients, and other proxies that ask at doors."""

from collections.abc import Callable

from gateway.auth.identity import credential_headers, identity_headers
from gateway.limits.address import Address, Unix
from gateway.proxy.allowed import Destination
from gateway.proxy.door import Around, door_server
from gateway.proxy.handler import Proxy
from gateway.proxy.request import RequestReader
from gateway.proxy.request_id import RequestIds
from gateway.proxy.server import Server
from gateway.proxy.via import via_of
from gateway.settings.door import RateLimit
from gateway.settings.gateway import PUBLIC, Settings
from gateway.telemetry.events import Events


def open_servers(
    settings: Settings,
    proxy_to: Callable[[Destination, RequestReader], Proxy],
    around: Around,
    forwarder: Destination,
    trusts: Callable[[Address | Unix | None], bool],
    events: Events,
) -> dict[str, Server]:
    """Make the servers, by the names of their listeners.

    Args:
        settings: Who identifies callers, and which doors there are.
        proxy_to: Makes what handles requests, of where they go and how they are read.
        around: Traces what handles requests.
        forwarder: Where the requests of clients go.
        trusts: Whether an address is a trusted proxy's.
        events: Receives what happens.
    """
    who = settings.identity
    reader = RequestReader(
        identity_headers(who),
        credential_headers(who),
        who.proxy_headers,
        via_of(settings),
        events.loop_detected,
        events.header_dropped,
    )
    ids = RequestIds(shown=settings.answers.request_id)
    handle = around(proxy_to(forwarder, reader).handle)
    doors = {
        name: door_server(door, settings, proxy_to, around, events, ids)
        for name, door in settings.doors.by_name.items()
        if not isinstance(door, RateLimit)
    }
    return {PUBLIC: Server(handle, settings.intake, events, trusts, ids), **doors}
