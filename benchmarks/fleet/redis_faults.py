"""Faults of Redis and of the network to it. Requests must not notice any of them; only the bound differs."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from benchmarks.fleet.clients import OTHERS
from benchmarks.fleet.episode import Episode
from benchmarks.fleet.fleet import WORKERS
from tests.reserved_port import ReservedPort
from tests.set_clock import SetClock


@asynccontextmanager
async def _operator(episode: Episode, **options: Any) -> AsyncIterator[Redis]:
    """A connection to Redis that is not the gateways'."""
    async with Redis(port=episode.fleet.redis.port, **options) as client:
        yield client


async def _down(episode: Episode, seconds: float, *, empty: bool) -> None:
    redis = episode.fleet.redis
    await asyncio.to_thread(redis.kill)
    await asyncio.sleep(seconds)
    if empty:
        shutil.rmtree(redis.folder / "appendonlydir", ignore_errors=True)
        (redis.folder / "appendonly.aof").unlink(missing_ok=True)
    await redis.start()


async def redis_killed(episode: Episode) -> None:
    await _down(episode, episode.seconds, empty=False)


async def redis_killed_and_empty(episode: Episode) -> None:
    episode.refills = 1
    await _down(episode, episode.seconds, empty=True)


async def redis_flaps(episode: Episode) -> None:
    for _ in range(3):
        await _down(episode, episode.seconds / 6, empty=False)
        await asyncio.sleep(episode.seconds / 6)


async def redis_hangs(episode: Episode) -> None:
    episode.fleet.redis.pause()
    await asyncio.sleep(episode.seconds)
    episode.fleet.redis.resume()


async def redis_is_slow(episode: Episode) -> None:
    """Slower than usual at first, then slower than the deadline."""
    for delay in (0.02, 0.2):
        for gateway in episode.fleet.gateways:
            gateway.redis.delay = delay
        await asyncio.sleep(episode.seconds / 2)
    for gateway in episode.fleet.gateways:
        gateway.redis.delay = 0.0


async def redis_resets_connections(episode: Episode) -> None:
    """Some between two replies, some in the middle of one."""
    for number in range(6):
        for gateway in episode.fleet.gateways:
            if number % 2:
                gateway.redis.reset_after = episode.random.randrange(1, 20)
            else:
                gateway.redis.reset()
        await asyncio.sleep(episode.seconds / 6)
    for gateway in episode.fleet.gateways:
        gateway.redis.reset_after = None


async def redis_out_of_memory(episode: Episode) -> None:
    async with _operator(episode) as client:
        await client.config_set("maxmemory", "1")
        await asyncio.sleep(episode.seconds)
        await client.config_set("maxmemory", "0")


async def redis_read_only(episode: Episode) -> None:
    async with _operator(episode) as client:
        with ReservedPort() as nobody:
            await client.replicaof("127.0.0.1", str(nobody.number))
            await asyncio.sleep(episode.seconds)
            await client.replicaof("NO", "ONE")


async def redis_password_changed(episode: Episode) -> None:
    async with _operator(episode, client_name="operator") as client:
        await client.config_set("requirepass", "another")
        await client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(episode.seconds)
        await client.config_set("requirepass", "")


async def redis_flushed(episode: Episode) -> None:
    """Scripts and data, while it is available."""
    episode.refills = 1
    async with _operator(episode) as client:
        await client.script_flush()
        await asyncio.sleep(episode.seconds / 2)
        await client.flushall()
        await asyncio.sleep(episode.seconds / 2)


async def redis_stalls(episode: Episode) -> None:
    """A slow command holds it up, again and again, for longer than the deadline."""
    async with _operator(episode) as client:
        for _ in range(3):
            await client.eval(_BUSY, 0)
            await asyncio.sleep(episode.seconds / 3)


_BUSY = "local began = os.clock() while os.clock() - began < 0.2 do end"


async def one_gateway_partitioned(episode: Episode) -> None:
    """Its connections are reset, and no new ones come about."""
    gateway = episode.one_gateway()
    episode.cut_off = WORKERS
    await gateway.redis.cut()
    await asyncio.sleep(episode.seconds)
    await gateway.redis.start()


async def one_gateway_in_a_black_hole(episode: Episode) -> None:
    """What it sends arrives, and no reply comes back."""
    gateway = episode.one_gateway()
    episode.cut_off = WORKERS
    gateway.redis.is_hung = True
    await asyncio.sleep(episode.seconds)
    gateway.redis.is_hung = False
    gateway.redis.reset()


async def redis_clock_steps(episode: Episode) -> None:
    """Ahead, which refills all buckets by so much, and back, which locks users out for as long and no longer.

    Redis is restarted to have such a clock.
    """
    episode.refills = 1
    episode.statuses[OTHERS] = {429}
    redis, clock = episode.fleet.redis, SetClock(episode.fleet.folder / "clock")
    usual = redis.environment
    await asyncio.to_thread(redis.kill)
    redis.environment = {**usual, **clock.environment}
    await redis.start()
    step = episode.seconds / 2
    clock.step(f"+{step}s")
    await asyncio.sleep(step)
    clock.step("+0s")
    await asyncio.sleep(1.2 * step)
    await asyncio.to_thread(redis.kill)
    redis.environment = usual
    await redis.start()
