"""A real Redis Cluster of three masters, and a master with a replica and a Sentinel."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.redis_server import RedisServer
from tests.waiting import eventually


@asynccontextmanager
async def redis_cluster(*options: str) -> AsyncIterator[list[RedisServer]]:
    """Three masters that know each other and have all slots."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        nodes = []
        for number in range(3):
            place = Path(folder) / str(number)
            place.mkdir()
            nodes.append(RedisServer(place, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *options))
        try:
            await asyncio.gather(*(node.start() for node in nodes))
            await _join(nodes)
            yield nodes
        finally:
            for node in nodes:
                node.close()


async def _join(nodes: list[RedisServer]) -> None:
    clients: list[Any] = [Redis(port=node.port, protocol=2) for node in nodes]
    bounds = [0, 5461, 10923, 16384]
    for client, first, end in zip(clients, bounds, bounds[1:], strict=False):
        await client.execute_command("CLUSTER", "ADDSLOTS", *range(first, end))
        for other in nodes:
            await client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port)
    for client in clients:
        await eventually(partial(_is_whole, client))
    for client in clients:
        await client.aclose()


async def _is_whole(client: Any) -> bool:
    state = await client.execute_command("CLUSTER", "INFO")
    return b"cluster_state:ok" in state and len(await client.execute_command("CLUSTER", "SLOTS")) == 3


async def _is_linked(client: "Redis") -> bool:
    link: str = (await client.info("replication"))["master_link_status"]
    return link == "up"


@asynccontextmanager
async def sentinel_group() -> AsyncIterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A master, its replica, and a Sentinel that knows both as ``mymaster``."""
    with tempfile.TemporaryDirectory(prefix="sentinel-") as folder:
        places = [Path(folder) / name for name in ("master", "replica", "sentinel")]
        for place in places:
            place.mkdir()
        master = RedisServer(places[0], "--repl-diskless-sync-delay", "0")
        await master.start()
        replica = RedisServer(places[1], "--replicaof", "127.0.0.1", str(master.port))
        servers = [master, replica]
        try:
            await replica.start()
            async with Redis(port=replica.port, protocol=2) as client:
                await eventually(lambda: _is_linked(client))
            settings = places[2] / "sentinel.conf"
            settings.write_text(
                f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
                "sentinel down-after-milliseconds mymaster 500\n"
                "sentinel failover-timeout mymaster 3000\n"
            )
            sentinel = RedisServer(places[2], str(settings), sentinel=True)
            servers.append(sentinel)
            await sentinel.start()
            async with Redis(port=sentinel.port, protocol=2) as client:
                await eventually(lambda: client.sentinel_slaves("mymaster"))
            yield master, replica, sentinel
        finally:
            for server in servers:
                server.close()
