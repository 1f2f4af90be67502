"""`Upstream`: the servers that requests are forwarded to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.settings.url import Origin


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS towards an upstream's https servers. The files are in PEM.

    Attributes:
        ca: Certificates to trust; without it, the system's. The same as `ca` of the upstream.
        certificate: The gateway's own, followed by its chain, for a server that asks for one.
        key: Its private key.
        server_name: The name that is sent (SNI) and has to be in the server's certificate; without it, the URL's host.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How each worker checks whether the servers of an upstream work.

    Attributes:
        path: What to GET. A status of 200 to 399 is healthy.
        every: Between two checks of a server; after failures, the pause doubles up to a minute.
        timeout: Until the response must have begun.
        failures: Failed checks in a row after which a server, one of several, gets no more requests.
    """

    path: str
    every: float = 10.0
    timeout: float = 2.0
    failures: int = 2


@dataclass(frozen=True, slots=True)
class Upstream:
    """A group of interchangeable servers that requests are forwarded to.

    Attributes:
        name: Unique; endpoints refer to it.
        urls: `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`, used in turn. One of several that
            fails is left out until a probe succeeds.
        connect_timeout: Until a connection is established, including TLS.
        head_timeout: From the last byte of the request to the head of the response.
        idle_timeout: Between two pieces of a body, in either direction.
        keepalive_time: How long an unused connection is kept open, if the server does not say less (`Keep-Alive:
            timeout=N`). Less than the server's own time, which is 5 s for Node.js and uvicorn.
        keepalive_age: Age from which a connection is not kept any more: the next request gets a new one, and resolves
            the server's name again.
        tunnel_timeout: How long a connection switched to WebSocket may be silent in both directions.
        max_idle: Unused connections that each worker keeps to each server.
        eject_time: Until the first probe of a server that was left out; each further pause is twice as long, up to a
            minute. With 0, none is left out.
        health: How each worker checks the servers; without it, only requests show that one fails.
        host: `client` passes on the Host header that the client sent, `upstream` sends the server's own, which is
            `localhost` on a Unix socket.
        ca: Certificates to trust for https, in PEM; without it, the system's.
        verify: Whether an https server must present a trusted certificate for its name.
        tls: The gateway's own certificate, and the name to verify.
        max_connections: Connections in use at a time, by each worker. A request beyond that gets a 503 at once.
    """

    name: str
    urls: tuple[Origin, ...]
    connect_timeout: float = 2.0
    head_timeout: float = 30.0
    idle_timeout: float = 60.0
    keepalive_time: float = 4.0
    keepalive_age: float = 300.0
    tunnel_timeout: float = 3600.0
    max_idle: int = 1024
    eject_time: float = 5.0
    health: HealthCheck | None = None
    host: Literal["client", "upstream"] = "client"
    ca: Path | None = None
    verify: bool = True
    tls: UpstreamTls = UpstreamTls()
    max_connections: int = 1024
