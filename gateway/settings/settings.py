"""What an operator can set, as the rest of the gateway reads it. Durations are seconds, sizes are bytes.

The names are those of `gateway.yaml`: a field here is a key there. Defaults are here and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from gateway.limits.address import LOOPBACK, Network
from gateway.limits.endpoint import DEFAULT
from gateway.limits.identity import ApiKey, TrustedHeader
from gateway.limits.path import PathPolicy
from gateway.settings.url import HostPort, PostgresUrl, RedisUrl
from gateway.settings.url import Origin as Origin  # noqa: PLC0414

BACKLOG = 4096
"""Connections that may wait on a socket, if the kernel lets so many (net.core.somaxconn)."""

Bytes = Annotated[int, "bytes"]
"""A number of bytes, which operators may write as ``64KiB``."""


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

    def __str__(self) -> str:
        return f"{HostPort(self.host, self.port)}{', TLS' if self.tls else ''}"


@dataclass(frozen=True, slots=True)
class Intake:
    """What the proxy takes from clients.

    Attributes:
        idle_timeout: How long a connection may wait for its next request.
        max_line: Bytes of a request line.
        max_header: Bytes of one header field.
        max_headers: Header fields of one request.
        max_head: Bytes of a whole head.
        max_body: Bytes of a body, where the endpoint sets no other bound.
        head_timeout: From the first byte of a request's head to its last.
        body_timeout: How long a client may stall while it sends a body.
        answer_timeout: How long a client may stall while it takes an answer.
        least_rate: Bytes a second, either way, at which a client does not stall.
        max_connections: Connections that a worker holds.
        max_connections_per_address: Of them, those of one client address, as it is limited; trusted proxies may hold
            as many as they like.
    """

    idle_timeout: float = 75.0
    max_line: Bytes = 8190
    max_header: Bytes = 8190
    max_headers: int = 100
    max_head: Bytes = 65_536
    max_body: Bytes = 10_737_418_240
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    answer_timeout: float = 30.0
    least_rate: Bytes = 500
    max_connections: int = 10_000
    max_connections_per_address: int = 1_000


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
        max_connections: Connections in use at a time, by each worker. One request more is answered 503 at once.
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
    max_idle: int = 1024
    eject_time: float = 5.0
    host: Literal["client", "upstream"] = "client"
    ca: Path | None = None
    verify: bool = True
    max_connections: int = 1024


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that tokens may be signed with. The algorithm belongs to the key: what a token says of it is not asked.

    Attributes:
        algorithm: The one algorithm this key is for.
        key: For HS256 the shared secret, at least 32 bytes (RFC 7518 section 3.2); otherwise the public key in PEM.
        kid: The name by which a token's header picks the key; None when there is only one.
    """

    algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"]
    key: bytes = field(repr=False)
    kid: str | None = None


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """Which JWTs are good.

    Attributes:
        keys: Keys that may have signed it.
        audience: What ``aud`` has to name; None to accept any token without one.
        issuer: What ``iss`` has to be; None for any.
    """

    keys: tuple[TokenKey, ...]
    audience: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Jwt:
    """An identity source: a claim of a verified token, see `gateway.limits.identity.BearerToken`.

    Attributes:
        policy: Which tokens are good.
        claim: The claim that holds the user id.
        tier_claim: The claim that holds the tier; None when tokens say nothing of it.
        header: Where the token stands, behind the word Bearer.
    """

    policy: TokenPolicy
    claim: str = "sub"
    tier_claim: str | None = None
    header: str = "Authorization"


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """Who is asking; what `gateway.limits.identity.Identity` is made of.

    Attributes:
        sources: In the order in which they are asked; the client's address comes last by itself.
        trusted_proxies: Networks whose X-Forwarded-For and identity headers are believed.
        hash_key: Key of the hash under which user ids are kept. All gateways on one Redis need the same one.
    """

    sources: tuple[TrustedHeader | Jwt | ApiKey, ...] = (TrustedHeader("X-User-Id", "X-User-Tier"),)
    trusted_proxies: tuple[Network, ...] = LOOPBACK
    hash_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class AdminPolicy:
    """Which tokens let their bearer change things.

    Attributes:
        tokens: Their keys, audience and issuer; none of these is optional here.
        max_lifetime: The longest from a token's ``iat`` to its ``exp``.
    """

    tokens: TokenPolicy
    max_lifetime: float = 3600.0


@dataclass(frozen=True, slots=True)
class Control:
    """The control plane.

    Attributes:
        listen: Its port.
        admin: Which tokens let their bearer change things; None when nobody can.
        check_from: Networks from which check-limit needs no token.
        state: The folder of the audit log, and of the overrides: with the memory store where they live, with Redis a
            copy for a start without it. It is this gateway's own. None for none, and then nothing can be changed.
        audit_size: How large a file of the audit log becomes before a new one is begun.
    """

    listen: Listener = Listener(port=8081)
    admin: AdminPolicy | None = None
    check_from: tuple[Network, ...] = ()
    state: Path | None = None
    audit_size: Bytes = 64 << 20


@dataclass(frozen=True, slots=True)
class StoreTls:
    """TLS towards Redis.

    Attributes:
        ca: Certificates in PEM to trust; None for the system's.
        certificate: Our own, for a Redis that asks for one.
        key: Its private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Sentinel:
    """Sentinels to ask which Redis is the primary. They are spoken to with the store's own TLS.

    Attributes:
        service: The name under which they know it.
        nodes: Where they are; asked in turn.
        username: Their ACL user.
        password: Theirs, not the store's.
    """

    service: str
    nodes: tuple[HostPort, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Store:
    """Where buckets live.

    Attributes:
        url: Where Redis is; None for this process' memory. With a Sentinel, its host is the service's name.
        sentinel: The Sentinels that know where; None for a Redis that stays where it is.
        cluster: Whether it is a Redis Cluster; `url` and `nodes` are the first nodes to ask.
        nodes: More nodes of the cluster, in case the first is down.
        tls: Certificates for ``rediss://``.
        prefix: What our keys in Redis start with.
        deadline: The longest a request waits for Redis.
        max_buckets: Buckets kept in memory, by the memory store or while Redis is away; the least recently used goes
            first.
    """

    url: RedisUrl | None = None
    sentinel: Sentinel | None = None
    cluster: bool = False
    nodes: tuple[HostPort, ...] = ()
    tls: StoreTls = StoreTls()
    prefix: str = "gateway"
    deadline: float = 0.050
    max_buckets: int = 1_000_000

    def __str__(self) -> str:
        if self.url is None:
            return "memory"
        kind = "Sentinel" if self.sentinel else "Cluster" if self.cluster else "Redis"
        nodes = self.sentinel.nodes if self.sentinel else self.nodes
        return f"{kind} {', '.join(map(str, (self.url, *nodes)))}"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL that keeps what was counted. It takes the extra `postgres`, which brings asyncpg.

    Attributes:
        url: Where it is: ``postgresql://ROLE@HOST:PORT/DATABASE``; for a socket, its folder with ``%2F`` for each
            slash in place of the host.
        tls: Whether to speak TLS, and to make sure of the server; nothing else is done over a network. A socket has
            none.
        ca: Certificates in PEM to trust; None for the system's.
    """

    url: PostgresUrl
    tls: bool = True
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Analytics:
    """Where decisions are kept, counted by the minute, for ``gateway report``. In neither place when none is named.

    Attributes:
        folder: A folder for files, one a day. Gateways on one machine may share it.
        postgres: A database instead. All gateways may share it.
        keep: How long they are kept.
        interval: How often a worker writes what it has counted; once a minute at least. So much is lost when it is
            killed.
        top_callers: Of the callers that were refused most, so many are kept of each time.
        buffer: Rows that a worker holds while they cannot be written. What comes then is lost, and counted.
    """

    folder: Path | None = None
    postgres: Postgres | None = None
    keep: float = 30 * 86_400.0
    interval: float = 60.0
    top_callers: int = 50
    buffer: int = 100_000

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self.folder is not None or self.postgres is not None

    def __str__(self) -> str:
        return str(self.postgres.url if self.postgres else self.folder or "none")


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where OpenTelemetry spans go. Needs `pip install 'rate-limiting-gateway[otel]'`.

    Attributes:
        endpoint: The collector's URL for traces: OTLP over HTTP, protobuf.
        sample: The share of requests that are traced, 0 to 1, where no trusted proxy has decided.
        service: What the gateway is called in traces.
        ca: Certificates in PEM to trust for https; None for those of the package `certifi`.
        credential_header: The field in which the collector wants the credential.
        credential: Proves to the collector who we are; the field's whole value.
    """

    endpoint: str
    sample: float = 0.1
    service: str = "gateway"
    ca: Path | None = None
    credential_header: str = "Authorization"
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `gateway.yaml`.

    Attributes:
        listen: The public port.
        control: The control plane.
        upstreams: By name; endpoints that name none go to the one called ``default``.
        intake: What the proxy takes from clients.
        store: Where buckets live.
        identity: Who is asking.
        paths: How to read a path.
        rules: The file or folder of rules; None when nothing is limited.
        workers: Processes; None for as many as the store allows and the machine has cores.
        drain_time: How long requests in flight may take to finish when the gateway stops.
        keep_rate_limit_headers: Whether an upstream's own rate-limit headers reach the client.
        access_log: The share of requests that have a line in the log: true for all, false for none, 0.01 for every
            hundredth of a worker, whatever became of it.
        analytics: Where decisions are kept, counted by the minute.
        cors_origins: Origins of web pages that may see our own answers, on both ports. What upstreams answer is theirs.
        tracing: Where OpenTelemetry spans go; None for nowhere.
    """

    upstreams: Mapping[str, Upstream]
    listen: Listener = Listener()
    control: Control = Control()
    intake: Intake = Intake()
    store: Store = Store()
    identity: IdentityPolicy = IdentityPolicy()
    paths: PathPolicy = field(default_factory=PathPolicy)
    rules: Path | None = None
    workers: int | None = None
    drain_time: float = 30.0
    keep_rate_limit_headers: bool = False
    access_log: float = 0.0
    analytics: Analytics = Analytics()
    cors_origins: tuple[str, ...] = ()
    tracing: Tracing | None = None

    @classmethod
    def of_one(cls, upstream: Origin) -> "Settings":
        """The defaults, in front of one upstream."""
        return cls(upstreams={DEFAULT: Upstream(DEFAULT, (upstream,))})
