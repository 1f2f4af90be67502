"""What an operator can set, as the rest of the gateway reads it. Durations are seconds, sizes are bytes.

The names are those of `gateway.yaml`: a field here is a key there. Defaults are here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.limits.endpoint import DEFAULT
from gateway.limits.identity import Identity
from gateway.limits.path import PathPolicy


@dataclass(frozen=True, slots=True)
class Tls:
    """Files that a listener serves TLS with, in PEM.

    Attributes:
        certificate: The certificate and the chain behind it.
        key: Its private key.
    """

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Listener:
    """Where we listen.

    Attributes:
        host: An address or name; an IPv6 address without brackets.
        port: 0 for any that is free.
        tls: None for plain HTTP.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls: Tls | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """What the proxy takes from clients.

    Attributes:
        idle_timeout: How long a connection may wait for its next request.
        max_line: Bytes of a request line.
        max_header: Bytes of one header field.
        max_headers: Header fields of one request.
    """

    idle_timeout: float = 75.0
    max_line: int = 8190
    max_header: int = 8190
    max_headers: int = 100


@dataclass(frozen=True, slots=True)
class Origin:
    """One address of an upstream: ``http://host:port`` or ``https://host:port``."""

    scheme: Literal["http", "https"]
    host: str
    port: int

    @property
    def authority(self) -> str:
        """``host:port`` as a Host header carries it: an IPv6 address in brackets, the scheme's own port left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The servers behind us that serve an endpoint.

    Attributes:
        name: Unique; endpoints refer to it.
        urls: Taken in turn. One that cannot be reached is left out for `eject_time`.
        connect_timeout: Until a connection stands, TLS included.
        head_timeout: From the request's last byte to the head of the answer.
        idle_timeout: Between two pieces of a body, either way.
        keepalive_time: How long an unused connection is kept.
        tunnel_timeout: Without a byte either way on a connection switched to WebSocket.
        max_idle: Unused connections kept for each address.
        eject_time: How long an address that could not be reached is left out.
        host: ``client`` passes on the Host the client sent, ``upstream`` sends the address' own.
        ca: Certificates in PEM to trust for https; None for the system's.
        verify: Whether an https upstream has to prove who it is.
    """

    name: str
    urls: tuple[Origin, ...]
    connect_timeout: float = 2.0
    head_timeout: float = 30.0
    idle_timeout: float = 60.0
    keepalive_time: float = 30.0
    tunnel_timeout: float = 3600.0
    max_idle: int = 64
    eject_time: float = 5.0
    host: Literal["client", "upstream"] = "client"
    ca: Path | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Store:
    """Where buckets live.

    Attributes:
        url: ``memory``, or where Redis is: ``redis://``, ``rediss://`` or ``unix://``, a password as in any URL.
        prefix: What our keys in Redis start with.
        deadline: The longest a request waits for Redis.
        max_buckets: Buckets kept in memory, by the memory store or while Redis is away; the least recently used goes
            first.
    """

    url: str = field(default="memory", repr=False)
    prefix: str = "gateway"
    deadline: float = 0.050
    max_buckets: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `gateway.yaml`.

    Attributes:
        listen: The public port.
        control: The port of the control plane.
        upstreams: By name; endpoints that name none go to the one called ``default``.
        intake: What the proxy takes from clients.
        store: Where buckets live.
        identity: Who is asking.
        paths: How to read a path.
        rules: The file or folder of rules; None when nothing is limited.
        workers: Processes; None for as many as the store allows and the machine has cores.
        drain_time: How long requests in flight may take to finish when the gateway stops.
        keep_rate_limit_headers: Whether an upstream's own rate-limit headers reach the client.
    """

    upstreams: Mapping[str, Upstream]
    listen: Listener = Listener()
    control: Listener = Listener(port=8081)
    intake: Intake = Intake()
    store: Store = Store()
    identity: Identity = Identity()
    paths: PathPolicy = PathPolicy()
    rules: Path | None = None
    workers: int | None = None
    drain_time: float = 30.0
    keep_rate_limit_headers: bool = False

    @classmethod
    def of_one(cls, upstream: Origin) -> "Settings":
        """The defaults, in front of one upstream."""
        return cls(upstreams={DEFAULT: Upstream(DEFAULT, (upstream,))})
