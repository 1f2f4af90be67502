"""Under memory pressure: local buckets are bounded, and a Redis that is full does not stop the gateway."""

import asyncio
import subprocess
import sys

import pytest
from redis.asyncio import Redis

from gateway.limiter.buckets import BYTES_PER_BUCKET
from gateway.limiter.memory import MemoryLimiter
from tests.redis.builders import Recorder, demand, failover_of, limiter, quota_demand
from tests.redis_server import redis_server
from tests.untraced import untraced
from tests.waiting import DEADLINE, until

_USERS = """
import asyncio, re, sys
from pathlib import Path
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limiter.memory import MemoryLimiter
from gateway.redis.clock import StoreClock

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

async def main(most, users):
    charge = Charge.of("per-user", Quota(Rate(1, 3600), 100))
    limiter = MemoryLimiter(most, StoreClock())
    before = peak()
    for user in range(users):
        digest = user * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128
        await limiter.check([Demand(b"per-user:*:%032x" % digest, charge)])
    print(peak() - before, limiter.held, limiter.evicted)

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.mark.parametrize("most", [100_000, 1_000_000])
async def test_a_million_users_take_no_more_memory_than_stated(most: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _USERS, str(most), "1000000", stdout=subprocess.PIPE, env=untraced()
    )
    said, _ = await process.communicate()
    grown, kept, evicted = map(int, said.split())
    assert (kept, evicted) == (most, 1_000_000 - most)
    # Besides the buckets, a few pages of the interpreter.
    assert grown < most * BYTES_PER_BUCKET + 4 * 2**20


async def test_the_least_recently_used_bucket_goes_first_and_only_a_loss_counts() -> None:
    now = 1_000_000
    opened = MemoryLimiter(2, lambda: now)
    await opened.check([demand("a", rate="1/s")])
    await opened.check([demand("b", rate="1/s")])
    await opened.check([demand("a", rate="1/s")])
    await opened.check([demand("c", rate="1/s")])
    assert opened.evicted == 1
    assert (await opened.check([demand("a", rate="1/s", cost=0)])).decision.owed == (2_000_000,)
    assert (await opened.check([demand("b", rate="1/s", cost=0)])).decision.owed == (0,)
    # What is full again is no loss.
    now += 10_000_000
    await opened.check([demand("d", rate="1/s")])
    assert opened.evicted == 1
    assert opened.held == 2


async def test_a_dropped_calendar_quota_is_a_loss_until_its_period_ends() -> None:
    now = 1_000_000
    opened = MemoryLimiter(1, lambda: now)
    for key in ("a", "b"):
        await opened.check([quota_demand(key, "5/day")])
    assert opened.evicted == 1
    now += 86_400_000_000
    await opened.check([quota_demand("c", "5/day")])
    assert opened.evicted == 1


async def test_local_buckets_stay_bounded_while_redis_is_unavailable() -> None:
    async with redis_server() as server:
        server.kill()
        async with limiter(server.url, max_buckets=100) as opened:
            for user in range(1000):
                assert (await opened.check([demand(f"u{user}")])).allowed
            fallback = failover_of(opened).fallback
            assert (len(fallback), opened.evicted) == (100, 900)
            await server.start()
            await until(lambda: not opened.is_degraded)
            assert len(fallback) == 0


async def test_the_gateway_keeps_deciding_when_ten_mebibytes_of_redis_are_full() -> None:
    observer = Recorder()
    options = ("--maxmemory", "10mb", "--maxmemory-policy", "noeviction")
    async with redis_server(*options) as server, limiter(server.url, observer) as opened:
        user = 0
        async with asyncio.timeout(DEADLINE):
            while not opened.is_degraded:
                checks = (opened.check([demand(f"{number:0100}")]) for number in range(user, user + 100))
                assert all(verdict.allowed for verdict in await asyncio.gather(*checks))
                user += 100
        assert user > 10_000
        assert len(observer.lost) == 1
        assert "OOM" in observer.lost[0] or "OutOfMemory" in observer.lost[0]
        # Decided here from now on, and what was known of a bucket still holds.
        verdict = await opened.check([demand(f"{0:0100}", burst=1)])
        assert (verdict.allowed, verdict.degraded) == (False, True)
        assert [(await opened.check([demand("new", burst=2)])).allowed for _ in range(3)] == [True, True, False]
        async with Redis(port=server.port) as client:
            await client.config_set("maxmemory", "100mb")
        await until(lambda: not opened.is_degraded)
        verdict = await opened.check([demand("new", burst=2)])
        assert (verdict.allowed, verdict.degraded) == (False, False)


async def test_a_full_redis_that_may_evict_keeps_deciding_itself() -> None:
    observer = Recorder()
    options = ("--maxmemory", "10mb", "--maxmemory-policy", "volatile-ttl")
    async with redis_server(*options) as server, limiter(server.url, observer) as opened:
        async with Redis(port=server.port) as client, asyncio.timeout(DEADLINE):
            user = 0
            while not (await client.info("stats"))["evicted_keys"]:
                checks = (opened.check([demand(f"{number:0100}")]) for number in range(user, user + 1000))
                verdicts = await asyncio.gather(*checks)
                assert all(verdict.allowed and not verdict.degraded for verdict in verdicts)
                user += 1000
        assert observer.lost == []
