"""The bound of docs/bound.md: three gateways of two workers, under twenty times the load that is allowed.

With burst B and rate R, in any window of length t at most 2B + R t are admitted when Redis keeps its data, and 3B + R t
when it comes back empty; if it flaps ten times, no more. All outages run side by side, each with a Redis and six
processes of its own. Set OUTAGE to make them longer or shorter than 20 seconds.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.limits.bucket import Quota
from tests.redis.worker import ENDPOINT, USER, USERS, Report
from tests.redis_server import RedisServer, redis_server
from tests.waiting import DEADLINE

OUTAGE = float(os.environ.get("OUTAGE", "20"))
"""Seconds."""

FLAPS = 10
WORKERS = 6
BEFORE = 1.5
AFTER = 1.6
KEPT = ("--appendonly", "yes", "--appendfsync", "always")


@dataclass
class Story:
    """What was seen of an outage.

    Attributes:
        name: Which.
        reports: Of all workers.
        back: The instants at which Redis was back.
        looks: What each worker took the buckets for in the end.
    """

    name: str
    reports: list[Report] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    looks: list[list[int]] = field(default_factory=list)

    def excess(self, quota: Quota, user: int | None = None) -> float:
        """The largest number admitted in any window, beyond what the rate refills in it."""
        instants = sorted(at for report in self.reports for at, who in report.admitted if user in {None, who})
        rate = quota.rate.tokens / quota.rate.seconds
        worst, least = 0.0, float("inf")
        for number, at in enumerate(instants):
            least = min(least, number - rate * at)
            worst = max(worst, number + 1 - rate * at - least)
        return worst


class Worker:
    """A process of `tests.redis.worker`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str) -> "Worker":
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.redis.worker", url, str(WORKERS),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=2**24,
        )  # fmt: skip
        worker = cls(process)
        assert await worker.hear() == "ready"
        return worker

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())

    async def hear(self) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            return json.loads(await self._process.stdout.readline())

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def tell(name: str, options: tuple[str, ...], outage: Callable[[RedisServer, Story], Awaitable[None]]) -> Story:
    """Run six workers through an outage."""
    story = Story(name)
    async with redis_server(*options) as server, AsyncExitStack() as stack:
        workers = await asyncio.gather(*(Worker.start(server.url) for _ in range(WORKERS)))
        for worker in workers:
            stack.push_async_callback(worker.stop)
            worker.tell("run")
        await asyncio.sleep(BEFORE)
        await outage(server, story)
        await asyncio.sleep(AFTER)
        for worker in workers:
            worker.tell("stop")
        story.reports = [Report(**await worker.hear()) for worker in workers]
        for worker in workers:
            worker.tell("look")
        story.looks = [await worker.hear() for worker in workers]
    return story


async def die(server: RedisServer, story: Story) -> None:
    server.kill()
    await asyncio.sleep(OUTAGE)
    await server.start()
    story.back.append(time.monotonic())


async def flap(server: RedisServer, story: Story) -> None:
    for turn in range(FLAPS):
        if turn:
            await asyncio.sleep(OUTAGE / FLAPS / 2)
        server.kill()
        await asyncio.sleep(OUTAGE / FLAPS / 2)
        await server.start()
        story.back.append(time.monotonic())


async def hang(server: RedisServer, story: Story) -> None:
    for turn in range(FLAPS):
        if turn:
            await asyncio.sleep(OUTAGE / FLAPS / 2)
        server.pause()
        await asyncio.sleep(OUTAGE / FLAPS / 2)
        server.resume()
        story.back.append(time.monotonic())


async def tell_all() -> list[Story]:
    return list(
        await asyncio.gather(
            tell("killed, kept its data", KEPT, die),
            tell("killed, came back empty", (), die),
            tell("killed ten times, came back empty", (), flap),
            tell("hung ten times", (), hang),
        )
    )


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return asyncio.run(tell_all())


@pytest.fixture(params=range(4), ids=["kept", "empty", "flapping", "hanging"])
def story(stories: list[Story], request: pytest.FixtureRequest) -> Story:
    number: int = request.param
    return stories[number]


def test_no_more_is_admitted_than_the_bound(story: Story) -> None:
    bursts = 3 if "empty" in story.name else 2
    assert story.excess(ENDPOINT) <= bursts * ENDPOINT.burst
    for user in range(USERS):
        assert story.excess(USER, user) <= bursts * USER.burst


def test_the_limit_is_still_given_out_while_redis_is_away(story: Story) -> None:
    admitted = sum(len(report.admitted) for report in story.reports)
    took = BEFORE + OUTAGE + AFTER
    assert admitted > ENDPOINT.burst + 0.6 * took * ENDPOINT.rate.tokens


def test_not_one_request_fails_or_waits(story: Story) -> None:
    assert [report.failed for report in story.reports] == [[]] * WORKERS
    # The deadline is 50 ms; the rest is two dozen processes on the same machine.
    assert max(report.slowest for report in story.reports) < 0.5
    assert sum(report.degraded for report in story.reports) > 0
    assert sum(report.refused for report in story.reports) > 0


def test_workers_agree_again_within_a_second(story: Story) -> None:
    for report in story.reports:
        assert len(report.lost) == len(report.back)
        # Of the last outage; one of a fraction of a second may have passed unnoticed.
        held_up = sum(late for ended, late in report.late if ended >= story.back[-1])
        assert report.back[-1] - story.back[-1] < 1.0 + held_up
    # And all take a bucket for full at the same instant, to the microsecond.
    for bucket in zip(*story.looks, strict=True):
        assert len(set(bucket) - {0}) <= 1, story.looks
    assert all(look[0] for look in story.looks)
