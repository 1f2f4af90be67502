"""What a file of very many overrides takes: time, memory, and patience of requests meanwhile.

    .venv/bin/python -m benchmarks.override_file [--overrides 100000]

Starts a Redis, an upstream and a gateway with two workers; applies and dumps a file of overrides that differ in five
ways, and one in which all differ.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple

from redis.asyncio import Redis

from benchmarks.kit.percentile import percentile
from tests.auth.keys import token
from tests.control.fleet import Gateway, fleet_member
from tests.control.running import Answer, read, request
from tests.kit.process import resident
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import ask, get, upstream

PATH = "/api/v1/admin/overrides"
TOKEN = token("limits:write limits:read")
WORKERS = 2
MIB = 1 << 20


class Step(NamedTuple):
    """What was done, how long it took, and how long requests took meanwhile, in seconds; 0 if that was not measured."""

    name: str
    seconds: float
    median: float = 0.0
    p99: float = 0.0

    def __str__(self) -> str:
        requests = f"   p50 {self.median * 1e3:6.1f} ms   p99 {self.p99 * 1e3:6.1f} ms" if self.p99 else ""
        return f"{self.name:30}{self.seconds:8.2f} s{requests}"


def plan(number: int, ways: int, reason: str = "contract") -> bytes:
    """A file of so many overrides, which differ in so many ways."""
    end = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
    rows = ["user,effect,rate,burst,reason,expires_at"]
    for each in range(number):
        way = each % ways
        expires_at = (end + timedelta(seconds=way)).isoformat().replace("+00:00", "Z")
        rows.append(f"customer-{each:06},quota,{100 + way}/minute,{100 + way},{reason} {way},{expires_at}")
    return "\n".join([*rows, ""]).encode()


class Measured:
    """A gateway under a light load."""

    def __init__(self, gateway: Gateway, redis: Redis) -> None:
        self._gateway = gateway
        self._redis = redis
        self._took: list[float] = []
        self._before = self.memory()
        self.steps: list[Step] = []

    def memory(self) -> list[int]:
        """MiB of each worker."""
        return [resident(child) // MIB for child in self._gateway.process.children]

    async def grown(self) -> str:
        more = [now - before for now, before in zip(self.memory(), self._before, strict=True)]
        used = (await self._redis.info("memory"))["used_memory"] // MIB
        return f"more memory of the workers: {', '.join(map(str, more))} MiB; Redis has {used} MiB"

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Send requests of ever new users, one after the other."""

        async def send() -> None:
            for number in count():
                began = time.perf_counter()
                await ask(self._gateway.public, get("/v1/orders/7", f"X-User-Id: user-{number}"))
                self._took.append(time.perf_counter() - began)
                await asyncio.sleep(0.005)

        task = asyncio.create_task(send())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        message = request(method, path, body, token=TOKEN, fields=["Content-Type: text/csv"])
        return read(await ask(self._gateway.control, message))

    async def step(self, name: str, method: str, body: bytes | None = None, query: str = "") -> Answer:
        self._took.clear()
        began = time.perf_counter()
        answer = await self.call(method, f"{PATH}.csv{query}", body)
        seconds = time.perf_counter() - began
        assert answer.status == 200, answer
        self.steps.append(Step(name, seconds, percentile(self._took, 50), percentile(self._took, 99)))
        return answer

    async def are_known(self, number: int) -> bool:
        """Whether every worker has so many overrides."""
        metrics = (await ask(self._gateway.control, get("/metrics"))).body.decode()
        return all(f'gateway_overrides{{worker="{worker}"}} {float(number)}' in metrics for worker in range(WORKERS))


async def override_file(overrides: int, ways: int, folder: Path) -> tuple[list[Step], str]:
    """Apply and dump a file of so many overrides, which differ in so many ways."""
    async with (
        redis_server() as redis,
        upstream() as up,
        Redis(port=redis.port, protocol=2) as direct,
        fleet_member(folder, up.port, redis.url, workers=WORKERS) as gateway,
    ):
        await gateway.process.says(r"(?s)worker_serving.*worker_serving")
        measured = Measured(gateway, direct)
        async with measured.load():
            body = plan(overrides, ways)
            await measured.step("dry run", "PUT", body, "?dry_run=true")
            answer = await measured.step("apply, all new", "PUT", body)
            assert answer.body["added"]["count"] == overrides, answer.body
            began = time.perf_counter()
            await eventually(lambda: measured.are_known(overrides))
            measured.steps.append(Step("until all workers have them", time.perf_counter() - began))
            await measured.step("apply, nothing different", "PUT", body)
            answer = await measured.step("dump", "GET")
            assert answer.body.count(b"\n") == overrides + 1
            memory = await measured.grown()
            await measured.step("apply, all different", "PUT", plan(overrides, ways, "other"))
        return measured.steps, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overrides", type=int, default=100_000)
    options = parser.parse_args()
    for ways in (5, options.overrides):
        with tempfile.TemporaryDirectory() as folder:
            steps, memory = asyncio.run(override_file(options.overrides, ways, Path(folder)))
        print(f"{options.overrides} overrides that differ in {ways} ways", *steps, memory, sep="\n  ")


if __name__ == "__main__":
    main()
