"""Opens a client of Redis, as the section `store` of the settings describes it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from gateway.redis.client import PooledClient, RedisClient
from gateway.redis.cluster import ClusterClient
from gateway.settings.store import Store, StoreTls
from gateway.settings.url import HostPort

_CONNECT_TIMEOUT = 1.0
"""Seconds. A request waits no longer than its own deadline; a probe waits this long."""

_REPLY_TIMEOUT = 0.5
"""Seconds. After that the connection is closed, so that a late reply cannot be taken for another's."""


def open_client(store: Store) -> RedisClient | None:
    """A client of the store's Redis, which connects when it is first used; None for the memory store."""
    url = store.url
    if url is None:
        return None
    tls = _tls_options(store.tls) if url.tls else {}
    options = {**_options(url.username, url.password), **tls}
    if store.cluster:
        nodes = [ClusterNode(node.host, node.port) for node in (HostPort(url.host, url.port), *store.nodes)]
        return ClusterClient(RedisCluster(startup_nodes=nodes, dynamic_startup_nodes=False, ssl=url.tls, **options))
    options["db"] = url.database
    if url.socket:
        del options["socket_keepalive"]
        return PooledClient(ConnectionPool(UnixDomainSocketConnection, path=url.socket, **options), _REPLY_TIMEOUT)
    if store.sentinel is None:
        connection = SSLConnection if url.tls else Connection
        return PooledClient(ConnectionPool(connection, host=url.host, port=url.port, **options), _REPLY_TIMEOUT)
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        [(node.host, node.port) for node in store.sentinel.nodes],
        sentinel_kwargs={**_options(store.sentinel.username, store.sentinel.password), "ssl": url.tls, **tls},
    )
    service = store.sentinel.service
    pool = SentinelConnectionPool(service, sentinels, ssl=url.tls, **options)  # type: ignore[no-untyped-call]
    return PooledClient(pool, _REPLY_TIMEOUT, sentinels.aclose)


@asynccontextmanager
async def connected(store: Store) -> AsyncIterator[RedisClient | None]:
    """A client for work that no request waits for, closed at the end; None for the memory store."""
    client = open_client(store)
    try:
        yield client
    finally:
        if client is not None:
            await client.close()


def _options(username: str | None, password: str | None) -> dict[str, Any]:
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "socket_timeout": _REPLY_TIMEOUT,
        "socket_keepalive": True,
        "driver_info": None,
        "username": username,
        "password": password,
    }


def _tls_options(tls: StoreTls) -> dict[str, Any]:
    return {
        "ssl_ca_certs": str(tls.ca) if tls.ca else None,
        "ssl_certfile": str(tls.certificate) if tls.certificate else None,
        "ssl_keyfile": str(tls.key) if tls.key else None,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
    }
