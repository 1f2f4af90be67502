"""`Faults`: what is done to the gateway and to its Redis, in a random order that depends on a seed."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from benchmarks.soak.clients import BLOCKED, USERS, Clients
from benchmarks.soak.environment import WORKERS, Environment
from benchmarks.soak.watch import is_alive
from gateway.auth.grant import Scope

_TIMEOUT = 30.0
_OVERRIDES = "/api/v1/admin/overrides"


class Kill(NamedTuple):
    """A worker that was killed.

    Attributes:
        when: In seconds of the monotonic clock.
        dead: When it had exited: until then it may have accepted another connection.
        pid: Its process.
        exposed: Requests that it may have received and not counted.
    """

    when: float
    dead: float
    pid: int
    exposed: int


class FaultError(Exception):
    """The gateway did not respond to a fault or a command as it should."""


Action = Callable[[], Awaitable[None]]


class Faults:
    """Injects faults, and does what operators do.

    Args:
        environment: Where.
        clients: Know which requests are in flight when a worker is killed.
        seed: Of the random order.
        log: Prints what is done.

    Attributes:
        done: How often each action was done.
        kills: The workers that were killed.
    """

    def __init__(self, environment: Environment, clients: Clients, seed: int, log: Callable[[str], None]) -> None:
        self._environment = environment
        self._clients = clients
        self._random = random.Random(seed)
        self._log = log
        self.done: Counter[str] = Counter()
        self.kills: list[Kill] = []

    async def by_operators(self, until: float, gap: float, *, gentle: bool) -> None:
        """Reload rules and change overrides; unless gentle, also kill and replace workers. Each at least once."""
        actions: list[Action] = [
            self._reload_by_signal,
            self._reload_by_token,
            self._put_override,
            self._delete_override,
        ]
        if not gentle:
            actions += [self._kill_worker, self._restart]
        await self._repeat(actions, until, gap)

    async def in_redis(self, until: float, gap: float) -> None:
        """Redis hangs, dies, and comes back empty. Each at least once."""
        await self._repeat([self._pause_redis, self._kill_redis, self._empty_redis], until, gap)

    async def _repeat(self, actions: Sequence[Action], until: float, gap: float) -> None:
        for number, action in enumerate(self._shuffled(actions)):
            await asyncio.sleep(gap * self._random.uniform(0.5, 1.5))
            if time.monotonic() >= until and number >= len(actions):
                return
            name = action.__name__.strip("_").replace("_", " ")
            self._log(name)
            await action()
            self.done[name] += 1

    def _shuffled(self, actions: Sequence[Action]) -> Iterator[Action]:
        """All of them in a random order, again and again."""
        while True:
            yield from self._random.sample(actions, len(actions))

    # Operators.

    async def _reload_by_signal(self) -> None:
        self._environment.write_rules(self._random.randrange(500, 1500))
        self._environment.gateway.signal(signal.SIGHUP)

    async def _reload_by_token(self) -> None:
        self._environment.write_rules(self._random.randrange(500, 1500))
        await self._call("POST", "/api/v1/admin/reload", Scope.RELOAD, (200,))

    async def _put_override(self) -> None:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        body: dict[str, object] = {"reason": "a soak", "expires_at": soon}
        if self._random.random() < 0.3:
            user = BLOCKED
            body |= {"effect": "block"}
        else:
            user = self._random.choice(USERS[:200])
            body |= {"effect": "quota", "rate": "50/s", "burst": 100}
        await self._call("PUT", f"{_OVERRIDES}/{user}", Scope.WRITE_LIMITS, (200, 201), body)

    async def _delete_override(self) -> None:
        user = BLOCKED if self._random.random() < 0.5 else self._random.choice(USERS[:200])
        await self._call("DELETE", f"{_OVERRIDES}/{user}", Scope.WRITE_LIMITS, (204, 404))

    async def _call(self, method: str, path: str, scope: Scope, expected: Sequence[int], body: object = None) -> None:
        """Repeat a request while Redis is unavailable (503), or if the worker that got it died."""
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            try:
                status = await self._environment.call(method, path, scope, body)
            except (ConnectionError, EOFError):
                status = 0
            if status in expected:
                return
            if status not in {0, 503}:
                raise FaultError(f"{method} {path}: the response is {status}")
            self.done[f"{method} without success ({status or 'no response'})"] += 1
            await asyncio.sleep(0.2)
        raise FaultError(f"{method} {path} did not succeed within {_TIMEOUT:.0f} s")

    # Workers.

    async def _kill_worker(self) -> None:
        serving = self._environment.gateway.output.count("worker_serving")
        pid = self._random.choice(self._environment.gateway.children)
        when, exposed = time.monotonic(), self._clients.exposed
        os.kill(pid, signal.SIGKILL)
        while is_alive(pid):  # blocking: whatever happens meanwhile is attributed to the kill
            time.sleep(0.0005)  # noqa: ASYNC251
        self.kills.append(Kill(when, time.monotonic(), pid, exposed))
        await self._wait_for("a killed worker to be replaced", lambda: self._logged("worker_serving") > serving)

    async def _restart(self) -> None:
        before, done = set(self._environment.gateway.children), self._logged("restart: done")
        self._environment.gateway.signal(signal.SIGUSR2)
        await self._wait_for("a restart to complete", lambda: self._logged("restart: done") > done)
        now = set(self._environment.gateway.children)
        if len(now) != WORKERS or now & before:
            raise FaultError(f"a restart replaced workers {sorted(before)} with {sorted(now)}")

    def _logged(self, text: str) -> int:
        return self._environment.gateway.output.count(text)

    async def _wait_for(self, what: str, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while not happened():
            if time.monotonic() > deadline:
                raise FaultError(f"waited {_TIMEOUT:.0f} s for {what}")
            await asyncio.sleep(0.05)

    # Redis.

    async def _pause_redis(self) -> None:
        self._environment.redis.pause()
        await asyncio.sleep(self._random.uniform(0.2, 2.0))
        self._environment.redis.resume()

    async def _kill_redis(self) -> None:
        await asyncio.to_thread(self._environment.redis.kill)
        await asyncio.sleep(self._random.uniform(0.2, 2.0))
        await self._environment.redis.start()

    async def _empty_redis(self) -> None:
        await self._environment.redis.restart()
