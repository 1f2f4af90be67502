"""Only Redis' clock counts."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.redis.clock import StoreClock, monotonic
from tests.redis.builders import demand, failover_of, limiter, quota_demand, redis_store
from tests.redis_server import redis_server
from tests.set_clock import SetClock, off_by
from tests.waiting import until

_HOUR = 3_600_000_000

_GATEWAY = """
import asyncio, json, sys, time
from tests.redis.builders import demand, limiter
from tests.waiting import until

async def main(url):
    async with limiter(url) as opened:
        print(json.dumps(time.time()), flush=True)
        while sys.stdin.readline():
            verdict = await opened.check([demand("shared", burst=30), demand("brief", rate="1000/s", burst=50)])
            print(json.dumps([verdict.allowed, verdict.degraded, verdict.decision.owed[0]]), flush=True)

asyncio.run(main(sys.argv[1]))
"""


class Gateway:
    """A process that decides, by a clock of its own."""

    def __init__(self, process: asyncio.subprocess.Process, now: float) -> None:
        self.now = now
        self._process = process

    @classmethod
    async def start(cls, url: str, skew: str) -> "Gateway":
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _GATEWAY, url,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", **off_by(skew)},
        )  # fmt: skip
        assert process.stdout is not None
        return cls(process, json.loads(await process.stdout.readline()))

    async def check(self) -> tuple[bool, bool, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        allowed, degraded, owed = json.loads(await self._process.stdout.readline())
        return allowed, degraded, owed

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def test_gateways_whose_clocks_differ_by_an_hour_decide_the_same() -> None:
    async with redis_server() as server:
        early, late = [await Gateway.start(server.url, skew) for skew in ("-30m", "+30m")]
        assert 3590 < late.now - early.now < 3700
        answers = [await gateway.check() for _ in range(25) for gateway in (early, late)]
        assert [allowed for allowed, _, _ in answers] == [True] * 30 + [False] * 20
        assert not any(degraded for _, degraded, _ in answers)
        owed = [owed for _, _, owed in answers]
        for taken in range(50):
            assert 0 <= min(taken, 30) * _HOUR - owed[taken] < 60_000_000
        await early.stop()
        await late.stop()


async def test_a_redis_clock_that_steps_back_mints_no_tokens_and_locks_nobody_out_for_longer(tmp_path: Path) -> None:
    clock = SetClock(tmp_path / "clock")
    async with redis_server(environment=clock.environment) as server, redis_store(server.url) as store:
        for _ in range(2):
            before = await store.take([demand("empty", burst=2)])
        left = await store.take([demand("one left", burst=2)])
        assert not (await store.take([demand("empty", burst=2)])).allowed
        clock.step("-10s")
        after = await store.take([demand("empty", burst=2)])
        assert -11_000_000 < after.now - before.now < -8_000_000
        # No token is minted ...
        assert not after.allowed
        assert after.owed[0] <= 2 * _HOUR + 11_000_000
        back = await store.take([demand("one left", burst=2)])
        assert 0 < back.owed[0] - _HOUR <= 10_000_000
        assert left.allowed
        # ... and who was let in before is let in again when those ten seconds have passed, at the latest.
        assert not back.allowed
        clock.step("+0s")
        assert (await store.take([demand("one left", burst=2)])).allowed


async def test_a_remembered_refusal_follows_a_clock_that_steps(tmp_path: Path) -> None:
    clock = SetClock(tmp_path / "clock")
    async with redis_server(environment=clock.environment) as server, limiter(server.url) as opened:
        assert (await opened.check([demand(burst=1)])).allowed
        assert not (await opened.check([demand(burst=1)])).allowed
        clock.step("+2h")
        # The next sign of life tells.
        await until(lambda: failover_of(opened).last_known.refuse([demand(burst=1)]) is None)
        assert (await opened.check([demand(burst=1)])).allowed


async def test_a_calendar_quota_comes_back_when_the_period_ends_by_redis_clock(tmp_path: Path) -> None:
    """A refusal from memory ends then, too; and the bucket of the old period is gone."""
    clock = SetClock(tmp_path / "clock")
    async with redis_server(environment=clock.environment) as server, limiter(server.url) as opened:
        for _ in range(3):
            whole = [quota_demand("a", "2/day", 2)]
            assert (await opened.check(whole)).allowed
            refused = await opened.check(whole)
            assert not refused.allowed
            assert failover_of(opened).last_known.refuse(whole) is not None
            end = whole[0].charge.quota.full_at(2, refused.decision.now)
            clock.step(f"{end / 1_000_000 - time.time() + 1:+.3f}s")
            # The next sign of life tells.
            await until(lambda: failover_of(opened).last_known.refuse([quota_demand("a", "2/day", 2)]) is None)


@pytest.mark.parametrize("late", [0, 1_000, 30_000])
def test_the_stores_time_is_never_told_too_early(late: int) -> None:
    clock = StoreClock()
    sent = monotonic() - late
    clock.update(5_000_000, sent)
    assert clock() >= 5_000_000 + late
    # A quicker answer narrows it down, a slower one changes nothing.
    sent = monotonic()
    clock.update(5_000_000 + late, sent)
    known = clock() - monotonic()
    clock.update(5_000_000 + late, sent - 1_000_000)
    assert abs(clock() - monotonic() - known) < 50
