"""A worker of a gateway as a process of its own: checks over and over, and reports the results.

    python -m tests.redis.worker <url> <workers>

Prints "ready" when it knows of so many workers. Reads commands from standard input, one a line: ``run`` starts the
checks, ``stop`` ends them as soon as Redis is available, ``look`` reads the buckets. Prints a line of JSON for ``stop``
and ``look``. Instants are seconds of the machine's monotonic clock.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field, replace

from gateway.limiter.limiter import Limiter
from gateway.limits.charge import Charge, Demand, FailurePolicy
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.settings.store import Store
from tests.redis.builders import limiter
from tests.waiting import Lag, Wait, lag, until

ENDPOINT = Quota(Rate(50, 1), 100)
USER = Quota(Rate(30, 1), 40)
USERS = 3
PAUSE = 0.01
"""Seconds between two checks: six workers ask ten times as often as the endpoint allows."""

_LOCAL = FailurePolicy.LOCAL
_ENDPOINT = Demand(b"endpoint", Charge.of("endpoint", ENDPOINT, failure_policy=_LOCAL))
_USERS = [Demand(b"user%d" % user, Charge.of("user", USER, failure_policy=_LOCAL)) for user in range(USERS)]


@dataclass
class Report:
    """What happened in one worker."""

    admitted: list[tuple[float, int]] = field(default_factory=list)
    degraded: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)
    slowest: float = 0.0
    lost_settlements: int = 0
    late: list[tuple[float, float]] = field(default_factory=list)

    def redis_misconfigured(self, warning: str) -> None:
        pass

    def redis_answered(self, checks: int, seconds: float) -> None:
        assert checks > 0
        assert seconds > 0

    def settlements_lost(self, count: int) -> None:
        self.lost_settlements += count

    def redis_unavailable(self, reason: str) -> None:  # noqa: ARG002
        self.lost.append(time.monotonic())

    def redis_still_unavailable(self, reason: str) -> None:
        pass

    def redis_back(self, seconds: float) -> None:  # noqa: ARG002
        self.back.append(time.monotonic())


async def run(limiter: Limiter, report: Report) -> None:
    async with lag() as held_up:
        report.late = held_up.late
        await _check(limiter, report, held_up)


async def _check(limiter: Limiter, report: Report, held_up: Lag) -> None:
    number = 0
    while True:
        user = number % USERS
        wait = Wait()
        try:
            verdict = await limiter.check([_USERS[user], _ENDPOINT])
        except Exception as error:  # noqa: BLE001 - any at all would have been a 5xx
            report.failed.append(repr(error))
        else:
            now = time.monotonic()
            report.slowest = max(report.slowest, wait.elapsed - wait.held_up(held_up))
            report.degraded += verdict.degraded
            if verdict.allowed:
                report.admitted.append((now, user))
            else:
                report.refused += 1
        number += 1
        await asyncio.sleep(PAUSE)


async def look(limiter: Limiter) -> list[int]:
    """When each bucket is full again, in microseconds of Redis' clock; 0 if it is full."""
    looks = [Demand(each.key, replace(each.charge, cost=0, due=0)) for each in [_ENDPOINT, *_USERS]]
    while (verdict := await limiter.check(looks)).degraded:
        pass  # the machine is busy, and the deadline short
    decision = verdict.decision
    return [decision.now + owed if owed else 0 for owed in decision.owed]


def send(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def main(url: str, workers: int) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    report = Report()
    async with limiter(url, report, workers=2, deadline=Store().deadline) as opened:
        await serve(opened, report, workers, reader)


async def serve(limiter: Limiter, report: Report, workers: int, reader: asyncio.StreamReader) -> None:
    await until(lambda: limiter.workers == workers)
    task: asyncio.Task[None] | None = None
    send("ready")
    while command := (await reader.readline()).strip():
        if command == b"run":
            task = asyncio.create_task(run(limiter, report))
        elif command == b"look":
            send(await look(limiter))
        elif task is not None:
            await until(lambda: not limiter.is_degraded)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            send(vars(report))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
