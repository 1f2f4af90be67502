"""`Address`: where Redis is, and the channel that leads there."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from gateway.redis.client import PooledClient, RedisClient
from gateway.redis.cluster import ClusterClient

Kind = Literal["server", "socket", "sentinel", "cluster"]

_CONNECT_TIMEOUT = 1.0
"""Seconds; a request waits no longer than its own deadline, a probe does."""

_ANSWER_TIMEOUT = 0.5
"""Seconds; after that the connection is closed, so that a late answer has nowhere to go."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to Redis. Never shown.

    Attributes:
        username: ACL user; None for the default user.
        password: Its password.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Trust:
    """How TLS is set up; files in PEM.

    Attributes:
        ca: Certificates to trust; None for the system's.
        certificate: Our own, for servers that ask for one.
        key: Its private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is.

    Attributes:
        kind: How to get there.
        hosts: Host and port of the server, the Sentinels, or some nodes of the Cluster.
        path: The Unix socket.
        service: What the Sentinels call it.
        database: Number of the database.
        tls: Whether to use TLS.
        login: Who we are to Redis.
        sentinel: Who we are to the Sentinels.
        trust: How TLS is set up.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    tls: bool = False
    login: Login = Login()
    sentinel: Login = Login()
    trust: Trust = Trust()

    def open(self) -> RedisClient:
        """A channel to it; connects when it is first used."""
        tls = _tls(self.trust) if self.tls else {}
        options = {**_patience(), "username": self.login.username, "password": self.login.password, **tls}
        if self.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in self.hosts]
            return ClusterClient(
                RedisCluster(startup_nodes=nodes, dynamic_startup_nodes=False, ssl=self.tls, **options)
            )
        options["db"] = self.database
        if self.kind == "socket":
            del options["socket_keepalive"]
            return PooledClient(ConnectionPool(UnixDomainSocketConnection, path=self.path, **options), _ANSWER_TIMEOUT)
        if self.kind == "server":
            ((host, port),) = self.hosts
            connection = SSLConnection if self.tls else Connection
            return PooledClient(ConnectionPool(connection, host=host, port=port, **options), _ANSWER_TIMEOUT)
        guard = self.sentinel
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            self.hosts,
            sentinel_kwargs={
                **_patience(), "username": guard.username, "password": guard.password, "ssl": self.tls, **tls,
            },
        )  # fmt: skip
        pool = SentinelConnectionPool(self.service, sentinels, ssl=self.tls, **options)  # type: ignore[no-untyped-call]
        return PooledClient(pool, _ANSWER_TIMEOUT, sentinels.aclose)


def _patience() -> dict[str, Any]:
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_timeout": _ANSWER_TIMEOUT,
        "socket_keepalive": True,
        "driver_info": None,
    }


def _tls(trust: Trust) -> dict[str, Any]:
    return {
        "ssl_ca_certs": str(trust.ca) if trust.ca else None,
        "ssl_certfile": str(trust.certificate) if trust.certificate else None,
        "ssl_keyfile": str(trust.key) if trust.key else None,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
    }
