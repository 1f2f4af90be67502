"""`Watch`: records memory and descriptors during the soak, and whether a counter ever decreases."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.soak.environment import Environment, Series
from tests.kit.process import resident

_INTERVAL = 2.0
"""Seconds."""

WARM_UP = 30.0
"""Seconds in a worker's life in which its memory may grow."""

SHORTEST = 60.0
"""Seconds that a worker must live after that for its memory to be judged."""


class Watch:
    """Watches a gateway.

    Attributes:
        memory: Of each process, by its id: times and bytes.
        descriptors: That the supervisor had open, each time.
        decreased: Counters that decreased.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._seen: Series = {}
        self.memory: dict[int, list[tuple[float, int]]] = {}
        self.descriptors: list[int] = []
        self.decreased: list[str] = []

    async def run(self) -> None:
        """Record until cancelled."""
        while True:
            await self.record()
            await asyncio.sleep(_INTERVAL)

    async def record(self) -> None:
        supervisor = self._environment.gateway.pid
        self.descriptors.append(_descriptors(supervisor))
        for pid in (supervisor, *self._environment.gateway.children):
            try:
                self.memory.setdefault(pid, []).append((time.monotonic(), resident(pid)))
            except (OSError, AssertionError):
                continue  # it has just exited
        try:
            now = await self._environment.counts("gateway_requests_total", "endpoint", "outcome", "status")
        except (ConnectionError, EOFError):
            return  # the worker that got the request was killed
        for key, value in self._seen.items():
            if now.get(key, 0.0) < value:
                self.decreased.append(f"{key} from {value} to {now.get(key)}")
        self._seen = now

    @property
    def growth(self) -> Mapping[int, float]:
        """How much each process that lived long enough has grown since its warm-up: 0.01 is 1 %."""
        found = {}
        for pid, seen in self.memory.items():
            steady = [(when, size) for when, size in seen if when - seen[0][0] >= WARM_UP]
            if steady and steady[-1][0] - steady[0][0] >= SHORTEST:
                found[pid] = _slope(steady) * (steady[-1][0] - steady[0][0]) / steady[0][1]
        return found


def is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends between opening and reading
        return False


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _slope(points: Sequence[tuple[float, int]]) -> float:
    """The slope of the line through points, by least squares."""
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread
