"""`Watch`: what is looked at while the soak lasts: memory, descriptors, and that no counter goes back."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.soak.environment import Series, World
from tests.e2e.process import resident

_EVERY = 2.0
WARM_UP = 30.0
"""Seconds in a worker's life in which its memory may grow."""

SHORTEST = 60.0
"""Seconds after that, without which nothing is said of its memory."""


class Watch:
    """Looks at a gateway.

    Attributes:
        memory: Of each process, by its id: when it was looked at, and bytes.
        descriptors: That the supervisor had open, each time it was looked at.
        backward: Counters that went back.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: Series = {}
        self.memory: dict[int, list[tuple[float, int]]] = {}
        self.descriptors: list[int] = []
        self.backward: list[str] = []

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        supervisor = self._world.gateway.pid
        self.descriptors.append(_descriptors(supervisor))
        for pid in (supervisor, *self._world.gateway.children):
            try:
                self.memory.setdefault(pid, []).append((time.monotonic(), resident(pid)))
            except (OSError, AssertionError):
                continue  # it has just ended
        try:
            now = await self._world.counts("gateway_requests_total", "endpoint", "outcome", "status")
        except (ConnectionError, EOFError):
            return  # the worker that was asked has been killed
        for key, value in self._seen.items():
            if now.get(key, 0.0) < value:
                self.backward.append(f"{key} from {value} to {now.get(key)}")
        self._seen = now

    @property
    def growth(self) -> Mapping[int, float]:
        """By how much each process that lived long enough has grown since its warm-up: 0.01 is by a hundredth."""
        found = {}
        for pid, seen in self.memory.items():
            steady = [(when, size) for when, size in seen if when - seen[0][0] >= WARM_UP]
            if steady and steady[-1][0] - steady[0][0] >= SHORTEST:
                found[pid] = _slope(steady) * (steady[-1][0] - steady[0][0]) / steady[0][1]
        return found


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _slope(points: Sequence[tuple[float, int]]) -> float:
    """Of the line through them, by least squares."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
