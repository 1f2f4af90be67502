"""`Store`: where buckets are stored."""

from dataclasses import dataclass, field
from pathlib import Path

from gateway.settings.url import HostPort, RedisUrl


@dataclass(frozen=True, slots=True)
class StoreTls:
    """Certificates for TLS to Redis, in PEM.

    Attributes:
        ca: Certificates to trust; without it, the system's.
        certificate: The gateway's own, for a Redis that asks for one.
        key: Its private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Sentinel:
    """The Sentinels that know the current primary. Connections to them use the store's TLS settings.

    Attributes:
        service: The name under which they monitor Redis.
        nodes: Their addresses, asked in turn.
        username: The ACL user on the Sentinels.
        password: Its password; the store's password is not used for Sentinels.
    """

    service: str
    nodes: tuple[HostPort, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Store:
    """Where buckets are stored.

    Attributes:
        url: Where Redis is; None for this process' memory. With Sentinels, its host is the service's name.
        sentinel: The Sentinels that know the primary; without it, the URL is the Redis to use.
        cluster: Whether this is a Redis Cluster; `url` and `nodes` are the first nodes to ask.
        nodes: More nodes of the cluster, in case the first is unavailable.
        tls: Certificates for `rediss://`.
        prefix: The first part of all keys in Redis.
        deadline: The longest a request waits for Redis.
        max_buckets: Buckets kept in memory, by the memory store or while Redis is unavailable; the least recently used
            are dropped first.
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
