"""`Dns`: how the names of upstreams are resolved."""

from dataclasses import dataclass

from gateway.settings.url import HostPort


@dataclass(frozen=True, slots=True)
class Dns:
    """How the names of upstreams are resolved. Names in /etc/hosts need no name server.

    Attributes:
        servers: Addresses of the name servers, in the order in which they are asked; without them, those of
            /etc/resolv.conf.
        timeout: How long a name server has to answer before it, or the next one, is asked again.
        min_ttl: How long an answer is used at least, whatever its TTL.
        max_ttl: How long an answer is used at most.
        stale_time: How long an answer is used beyond its TTL while no name server gives a new one; 0 for not at all.
    """

    servers: tuple[HostPort, ...] = ()
    timeout: float = 1.0
    min_ttl: float = 1.0
    max_ttl: float = 3600.0
    stale_time: float = 86_400.0
