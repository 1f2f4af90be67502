"""The cost of one decision on two buckets: the gateway's limiter compared with a naive one.

    .venv/bin/python -m benchmarks.decision_cost [--connections 64] [--decisions 60000] [--rounds 3]

Starts a redis-server of its own. As many tasks as connections ask for the next decision as soon as they get one; each
request is charged to a user's bucket and its endpoint's, and allowed (a refusal from memory costs next to nothing). The
naive limiter sends the same script once per check. Client CPU is this process's, including the asking tasks; Redis
CPU is its main thread's, from INFO. The best run is printed, as noise only adds. The exit code is 1 if a target is
missed.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import uvloop
from redis.asyncio import Redis

from gateway.limiter.limiter import open_limiter
from gateway.limits.bucket import Decision, judge
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.redis.open import connected
from gateway.redis.poller import Poller
from gateway.redis.scripts import TAKE, call_take
from gateway.settings.store import Store
from gateway.settings.url import RedisUrl
from tests.redis_server import RedisServer, redis_server

MOST_CLIENT_CPU = 20.0
"""Microseconds per decision."""

MOST_REDIS_CPU = 0.25
"""Of what one script call per check costs."""

_USER = Charge.of("user", Quota(Rate(10, 1), 1_000_000))
_ENDPOINT = Charge.of("endpoint", Quota(Rate(1_000, 1), 1_000_000))
_USERS = 10_000
_ENDPOINTS = 8

Ask = Callable[[list[Demand]], Awaitable[bool]]


class Cost(NamedTuple):
    """Of a decision: microseconds of CPU in the client and in Redis, calls to Redis; and decisions a second."""

    client: float
    redis: float
    calls: float
    rate: float


class _IgnoreEvents:
    def redis_answered(self, checks: int, seconds: float) -> None:
        pass

    def redis_misconfigured(self, warning: str) -> None:
        pass

    def redis_unavailable(self, reason: str) -> None:
        raise RuntimeError(reason)

    def redis_back(self, seconds: float) -> None:
        pass


def _demands(number: int) -> list[Demand]:
    user, endpoint = number * 7919 % _USERS, number % _ENDPOINTS
    return [Demand(b"user:*:%032d" % user, _USER), Demand(b"endpoint:%d:*" % endpoint, _ENDPOINT)]


async def _redis_cpu(client: "Redis") -> tuple[float, int]:
    info = await client.info("everything")
    cpu = float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])
    return cpu, info.get("cmdstat_evalsha", {"calls": 0})["calls"]


async def _measure(ask: Ask, client: "Redis", connections: int, decisions: int) -> Cost:
    requests = [_demands(number) for number in range(decisions)]

    async def connection(first: int) -> None:
        for number in range(first, decisions, connections):
            if not await ask(requests[number]):
                raise RuntimeError("refused")

    await asyncio.gather(*(connection(first) for first in range(decisions - connections * 4, decisions, 4)))
    (redis_before, calls_before), client_before, start = (
        await _redis_cpu(client),
        time.process_time(),
        time.perf_counter(),
    )
    await asyncio.gather(*(connection(first) for first in range(connections)))
    took, client_cpu = time.perf_counter() - start, time.process_time() - client_before
    redis_after, calls = await _redis_cpu(client)
    redis_cpu = redis_after - redis_before
    return Cost(
        client_cpu / decisions * 1e6, redis_cpu / decisions * 1e6, (calls - calls_before) / decisions, decisions / took
    )


async def _ours(server: RedisServer, client: "Redis", connections: int, decisions: int) -> Cost:
    store = Store(RedisUrl("redis", "127.0.0.1", server.port), deadline=5.0)
    async with connected(store) as checks:
        limiter = open_limiter(store, checks, Poller(checks), _IgnoreEvents(), workers=1)
        await limiter.start()

        async def ask(demands: list[Demand]) -> bool:
            verdict = await limiter.check(demands)
            return verdict.allowed and not verdict.degraded

        try:
            return await _measure(ask, client, connections, decisions)
        finally:
            await limiter.close()


async def _naive(server: RedisServer, client: "Redis", connections: int, decisions: int) -> Cost:
    async with Redis(port=server.port, protocol=2) as each:
        await each.script_load(TAKE.text)

        async def ask(demands: list[Demand]) -> bool:
            call = call_take(b"naive:", [demands], 0)
            now, *owed = await each.evalsha(TAKE.sha, len(call.keys), *call.keys, *call.arguments)  # type: ignore[misc]
            decision: Decision = judge(demands, owed, now)
            return decision.allowed

        return await _measure(ask, client, connections, decisions)


async def _main(arguments: argparse.Namespace) -> bool:
    async with redis_server() as server, Redis(port=server.port, protocol=2) as client:
        ours, naive = [], []
        for _ in range(arguments.rounds):
            naive.append(await _naive(server, client, arguments.connections, arguments.decisions // 4))
            ours.append(await _ours(server, client, arguments.connections, arguments.decisions))
    best = [Cost(*map(min, zip(*rounds, strict=True))) for rounds in (ours, naive)]
    print(f"{arguments.connections} connections, two buckets a decision, best of {arguments.rounds} rounds")
    print(f"{'':24}{'gateway':>10}{'naive':>10}{'ratio':>8}")
    for name, gateway, other in zip(("client CPU, µs", "Redis CPU, µs", "calls"), best[0], best[1], strict=False):
        print(f"{name:24}{gateway:10.2f}{other:10.2f}{gateway / other:8.2f}")
    fastest = max(cost.rate for cost in ours), max(cost.rate for cost in naive)
    print(f"{'decisions a second':24}{fastest[0]:10.0f}{fastest[1]:10.0f}{fastest[0] / fastest[1]:8.2f}")
    is_met = best[0].client <= MOST_CLIENT_CPU and best[0].redis <= MOST_REDIS_CPU * best[1].redis
    print(f"target: client {MOST_CLIENT_CPU:.0f} µs, Redis {MOST_REDIS_CPU} of naive: {'met' if is_met else 'MISSED'}")
    return is_met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--decisions", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    sys.exit(not uvloop.run(_main(parser.parse_args())))


if __name__ == "__main__":
    main()
