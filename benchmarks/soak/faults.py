"""`Trouble`: what is done to the gateway and to its Redis, as the dice of a seed fall."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from benchmarks.soak.clients import BLOCKED, USERS, Crowd
from benchmarks.soak.environment import WORKERS, World
from benchmarks.soak.watch import is_alive

_PATIENCE = 30.0
_OVERRIDES = "/api/v1/admin/overrides"


class Kill(NamedTuple):
    """A worker that we killed.

    Attributes:
        when: In seconds of the monotonic clock.
        dead: When it was gone: until then it may have taken another connection.
        pid: Its process.
        exposed: Requests that it may have had and not have counted.
    """

    when: float
    dead: float
    pid: int
    exposed: int


class TroubleError(Exception):
    """The gateway did not do what it was told."""


Act = Callable[[], Awaitable[None]]


class Trouble:
    """Makes trouble.

    Args:
        world: For whom.
        crowd: Is asked what it has under way when a worker is killed.
        seed: Of the dice.
        say: Is told what is done.

    Attributes:
        done: How often each thing was done.
        kills: The workers that were killed.
    """

    def __init__(self, world: World, crowd: Crowd, seed: int, say: Callable[[str], None]) -> None:
        self._world = world
        self._crowd = crowd
        self._dice = random.Random(seed)
        self._say = say
        self.done: Counter[str] = Counter()
        self.kills: list[Kill] = []

    async def of_operators(self, until: float, gap: float, *, gentle: bool) -> None:
        """Reloads and overrides; unless gentle, workers are replaced as well. Each at least once."""
        acts: list[Act] = [self._reload_by_signal, self._reload_by_token, self._put_override, self._delete_override]
        if not gentle:
            acts += [self._kill_worker, self._restart]
        await self._go_on(acts, until, gap)

    async def of_redis(self, until: float, gap: float) -> None:
        """Redis hangs, dies, and comes back empty. Each at least once."""
        await self._go_on([self._pause_redis, self._kill_redis, self._empty_redis], until, gap)

    async def _go_on(self, acts: Sequence[Act], until: float, gap: float) -> None:
        for number, act in enumerate(self._deck(acts)):
            await asyncio.sleep(gap * self._dice.uniform(0.5, 1.5))
            if time.monotonic() >= until and number >= len(acts):
                return
            name = act.__name__.strip("_").replace("_", " ")
            self._say(name)
            await act()
            self.done[name] += 1

    def _deck(self, acts: Sequence[Act]) -> Iterator[Act]:
        """All of them in some order, again and again."""
        while True:
            yield from self._dice.sample(acts, len(acts))

    # Operators.

    async def _reload_by_signal(self) -> None:
        self._world.write_rules(self._dice.randrange(500, 1500))
        self._world.gateway.signal(signal.SIGHUP)

    async def _reload_by_token(self) -> None:
        self._world.write_rules(self._dice.randrange(500, 1500))
        await self._insist("POST", "/api/v1/admin/reload", "reload", (200,))

    async def _put_override(self) -> None:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        said = {"reason": "a soak", "expires_at": soon}
        if self._dice.random() < 0.3:
            user, body = BLOCKED, {"effect": "block", **said}
        else:
            user, body = self._dice.choice(USERS[:200]), {"effect": "quota", "rate": "50/s", "burst": 100, **said}
        await self._insist("PUT", f"{_OVERRIDES}/{user}", "limits:write", (200, 201), body)

    async def _delete_override(self) -> None:
        user = BLOCKED if self._dice.random() < 0.5 else self._dice.choice(USERS[:200])
        await self._insist("DELETE", f"{_OVERRIDES}/{user}", "limits:write", (204, 404))

    async def _insist(self, method: str, path: str, scope: str, good: Sequence[int], body: object = None) -> None:
        """Ask again while Redis is away, or the worker that was asked has died: both are said, or seen."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                status = (await self._world.call(method, path, scope, body)).status
            except (ConnectionError, EOFError):
                status = 0
            if status in good:
                return
            if status not in {0, 503}:
                raise TroubleError(f"{method} {path} was answered {status}")
            self.done[f"{method} answered {status or 'by nobody'}"] += 1
            await asyncio.sleep(0.2)
        raise TroubleError(f"{method} {path} was not done within {_PATIENCE:.0f} s")

    # Workers.

    async def _kill_worker(self) -> None:
        serving = self._world.gateway.output.count("worker_serving")
        pid = self._dice.choice(self._world.gateway.children)
        when, exposed = time.monotonic(), self._crowd.exposed
        os.kill(pid, signal.SIGKILL)
        while is_alive(pid):  # at once: whatever happens meanwhile is put down to the kill
            time.sleep(0.0005)  # noqa: ASYNC251
        self.kills.append(Kill(when, time.monotonic(), pid, exposed))
        await self._holds("the place of a killed worker is filled", lambda: self._said("worker_serving") > serving)

    async def _restart(self) -> None:
        before, done = set(self._world.gateway.children), self._said("restart: done")
        self._world.gateway.signal(signal.SIGUSR2)
        await self._holds("a restart comes to its end", lambda: self._said("restart: done") > done)
        now = set(self._world.gateway.children)
        if len(now) != WORKERS or now & before:
            raise TroubleError(f"a restart made {sorted(now)} of {sorted(before)}")

    def _said(self, text: str) -> int:
        return self._world.gateway.output.count(text)

    async def _holds(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                raise TroubleError(f"it does not hold that {what}")
            await asyncio.sleep(0.05)

    # Redis.

    async def _pause_redis(self) -> None:
        self._world.redis.pause()
        await asyncio.sleep(self._dice.uniform(0.2, 2.0))
        self._world.redis.resume()

    async def _kill_redis(self) -> None:
        await asyncio.to_thread(self._world.redis.kill)
        await asyncio.sleep(self._dice.uniform(0.2, 2.0))
        await self._world.redis.start()

    async def _empty_redis(self) -> None:
        await self._world.redis.restart()
