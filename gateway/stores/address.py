"""`Address`: where Redis is, as an operator writes it, and the channel that leads there.

redis://[user:password@]host[:port][/database]            one server; rediss:// with TLS
unix://[user:password@]/path/to/socket[?db=database]      one server on this machine
redis+sentinel://[user:password@]host[:port][,host...]/service[/database]
redis+cluster://[user:password@]host[:port][,host...]
rediss+sentinel://, rediss+cluster://                     the same with TLS
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from gateway.stores.channel import Channel, PooledChannel
from gateway.stores.cluster import ClusterChannel

Kind = Literal["server", "socket", "sentinel", "cluster"]

_PORT = 6379
_SENTINEL_PORT = 26379

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
        login: From the address; what is given apart from it counts instead.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    database: int = 0
    tls: bool = False
    login: Login = Login()

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read an address; see the top of this file.

        Raises:
            ValueError: it is none. The message does not repeat it, as there may be a password in it.
        """
        parts = urlsplit(url)
        base, _, kind = parts.scheme.partition("+")
        credentials, _, netloc = parts.netloc.rpartition("@")
        login = _login(credentials)
        if parts.scheme == "unix":
            if netloc or not parts.path:
                raise ValueError("a Unix socket is written unix:///path/to/socket")
            database = parse_qs(parts.query).get("db", ["0"])[-1]
            return cls("socket", path=unquote(parts.path), database=_database(database), login=login)
        if base not in {"redis", "rediss"} or kind not in {"", "sentinel", "cluster"} or parts.query or parts.fragment:
            raise ValueError(
                "a store is memory, redis://host:6379/0, rediss://, unix:///path, "
                "redis+sentinel://host:26379,host:26379/service or redis+cluster://host:6379,host:6379"
            )
        hosts = tuple(_host(text, _SENTINEL_PORT if kind == "sentinel" else _PORT) for text in netloc.split(","))
        path = [unquote(part) for part in parts.path.strip("/").split("/")] if parts.path.strip("/") else []
        service = path.pop(0) if kind == "sentinel" and path else ""
        if kind == "sentinel" and not service:
            raise ValueError("after the Sentinels comes the name of the service, as in redis+sentinel://host/mymaster")
        if kind == "" and len(hosts) > 1:
            raise ValueError("several hosts are Sentinels (redis+sentinel://) or a Cluster (redis+cluster://)")
        if len(path) > (0 if kind == "cluster" else 1):
            raise ValueError("a Cluster has one database" if kind == "cluster" else "the database is one number")
        found: Kind = "sentinel" if kind == "sentinel" else "cluster" if kind == "cluster" else "server"
        database_number = _database(path[0]) if path else 0
        return cls(found, hosts, "", service, database_number, base == "rediss", login)

    def open(self, *, login: Login | None = None, sentinel: Login | None = None, trust: Trust | None = None) -> Channel:
        """A channel to it; connects when it is first used.

        Args:
            login: Who we are to Redis; None for what the address says.
            sentinel: Who we are to the Sentinels; None for nobody.
            trust: How TLS is set up.
        """
        login = login or self.login
        tls = _tls(trust or Trust()) if self.tls else {}
        options = {**_patience(), "username": login.username, "password": login.password, **tls}
        if self.kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in self.hosts]
            return ClusterChannel(
                RedisCluster(startup_nodes=nodes, dynamic_startup_nodes=False, ssl=self.tls, **options)
            )
        options["db"] = self.database
        if self.kind == "socket":
            del options["socket_keepalive"]
            return PooledChannel(ConnectionPool(UnixDomainSocketConnection, path=self.path, **options), _ANSWER_TIMEOUT)
        if self.kind == "server":
            ((host, port),) = self.hosts
            connection = SSLConnection if self.tls else Connection
            return PooledChannel(ConnectionPool(connection, host=host, port=port, **options), _ANSWER_TIMEOUT)
        guard = sentinel or Login()
        sentinels = Sentinel(  # type: ignore[no-untyped-call]
            self.hosts,
            sentinel_kwargs={
                **_patience(), "username": guard.username, "password": guard.password, "ssl": self.tls, **tls,
            },
        )  # fmt: skip
        pool = SentinelConnectionPool(self.service, sentinels, ssl=self.tls, **options)  # type: ignore[no-untyped-call]
        return PooledChannel(pool, _ANSWER_TIMEOUT, sentinels.aclose)


def _login(credentials: str) -> Login:
    username, _, password = credentials.partition(":")
    return Login(unquote(username) or None, unquote(password) or None)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        found = parts.port
    except ValueError:
        raise ValueError("a port is a number up to 65535") from None
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, port if found is None else found


def _database(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("the database is a number")
    return int(text)


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
