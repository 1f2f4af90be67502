"""`Metrics`: how one worker counts. What a request costs here is a few additions in shared memory, see `tally`.

Counting is for the event loop's thread alone, and so needs no lock. What changes by itself (connections, buckets) is
read once a second from callables that the composition root gives, and whenever this worker is scraped.
"""

import asyncio
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

from gateway.telemetry import definitions
from gateway.telemetry.definitions import Kind, MetricDefinition
from gateway.telemetry.exposition import Snapshot, exposition
from gateway.telemetry.shared_memory import Key, SharedCounters

Cause = Literal["start", "death", "restart"]
"""Why a worker was started: with the gateway; in the place of one that died; in a rolling restart."""

_BEAT = 1.0


class Charge(Protocol):
    """What is asked of a bucket, as far as it matters here: see `gateway.limits.bucket.Charge`."""

    @property
    def limit(self) -> str:
        """Name of the limit."""

    @property
    def enforced(self) -> bool:
        """False for a shadow limit."""


class Metrics:
    """Counts for one worker, and answers scrapes for all.

    Args:
        tallies: Of all workers of this gateway, made before they were forked; see `Snapshot`.
        place: Which of them is ours.
        workers: How many workers there are; None for as many as tallies.
        cause: Why this worker was started.

    Attributes:
        store_took: Call it with the seconds of a round trip to the store.
        store_asked: Call it with the number of checks in a call to the store.
    """

    def __init__(
        self, tallies: Sequence[SharedCounters], place: int = 0, workers: int | None = None, cause: Cause = "start"
    ) -> None:
        self._tallies = tallies
        self._workers = workers
        self._tally = tallies[place]
        self._cells = self._tally.cells
        self._requests: dict[tuple[str, str, int], int] = {}
        self._decisions: dict[tuple[str, str, bool], int] = {}
        self._upstreams: dict[str, Callable[[float], None]] = {}
        self._watched: list[Callable[[], None]] = []
        self._forget_gauges()
        self._expect()
        self.store_took = self._ruler(definitions.STORE_SECONDS)
        self.store_asked = self._ruler(definitions.STORE_CHECKS)
        self._count(definitions.STARTS, cause)
        self.watch(definitions.CPU, time.process_time)

    # The data plane.

    def request(self, endpoint: str, outcome: str, status: int) -> None:
        """Count a request. `endpoint` is empty when it was not made out; `outcome` is a word of ours."""
        key = (endpoint, outcome, status // 100)
        cell = self._requests.get(key)
        if cell is None:
            cell = self._requests[key] = self._cell(definitions.REQUESTS, endpoint, outcome, _status_class(status))
        self._cells[cell] += 1.0

    def decided(
        self, demands: Iterable[tuple[bytes, Charge]], refused: Sequence[int] = (), *, degraded: bool = False
    ) -> None:
        """Count what each limit said to a request.

        Args:
            demands: What was asked of the buckets.
            refused: Positions of those that could not pay.
            degraded: Whether it was decided without the shared store.
        """
        cells, known = self._cells, self._decisions
        position = 0
        for _, charge in demands:
            outcome = "allowed"
            if position in refused:
                outcome = "refused" if charge.enforced else "shadow_refused"
            key = (charge.limit, outcome, degraded)
            cell = known.get(key)
            if cell is None:
                cell = known[key] = self._decision(charge.limit, outcome, degraded=degraded)
            cells[cell] += 1.0
            position += 1  # noqa: SIM113 - enumerate makes a tuple more

    def bypassed(self, limit: str) -> None:
        """Count a caller whom `limit` does not count."""
        self._cells[self._decision(limit, "bypassed", degraded=False)] += 1.0

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """Note how long an upstream took for one request."""
        ruler = self._upstreams.get(upstream)
        if ruler is None:
            ruler = self._upstreams[upstream] = self._ruler(definitions.UPSTREAM_SECONDS, upstream)
        ruler(seconds)

    def rejected(self, cause: str) -> None:
        """Count a connection that was not taken, or was cut off. `cause` is a word of ours."""
        self._count(definitions.CONNECTIONS_REJECTED, cause)

    # What happens now and then.

    def redis_turned(self, to: Literal["up", "unavailable"]) -> None:
        """Count that this worker found Redis unavailable, or up again."""
        self._count(definitions.TRANSITIONS, to)

    def audited(self, outcome: Literal["written", "failed"]) -> None:
        """Count a line of the audit trail."""
        self._count(definitions.AUDIT_LINES, outcome)

    def reloaded(self, outcome: Literal["applied", "rejected"]) -> None:
        """Count that rules were read anew."""
        self._count(definitions.RELOADS, outcome)

    def analysed(self, outcome: Literal["written", "lost"], requests: int) -> None:
        """Count decided requests that were written to the analytics, or will not be."""
        self._cells[self._cell(definitions.ANALYTICS, outcome)] += requests

    def rules(self, revision: str, endpoints: Iterable[str], limits: Iterable[str]) -> None:
        """Say which rules are in force now. Their series start at zero, so that a first refusal is seen to be one."""
        self._show_only(definitions.RULES, revision)
        self._set(definitions.RULES_LOADED, time.time())
        for endpoint in endpoints:
            self._cell(definitions.REQUESTS, endpoint, "allowed", "2xx")
            self._cell(definitions.REQUESTS, endpoint, "refused", "4xx")
        for limit in limits:
            for outcome in ("allowed", "refused", "shadow_refused"):
                self._decision(limit, outcome, degraded=False)

    def build(self, version: str, python: str) -> None:
        """Say what runs here."""
        self._show_only(definitions.BUILD, version, python)

    # Scrapes.

    def watch(self, family: MetricDefinition, read: Callable[[], float]) -> None:
        """Show what `read` says: the value of a gauge, or how far a counter has come since this worker began."""
        cell = self._cell(family)
        seen = 0.0

        def look() -> None:
            nonlocal seen
            value = read()
            if family.kind is Kind.GAUGE:
                self._cells[cell] = value
            else:
                self._cells[cell] += value - seen
                seen = value

        look()
        self._watched.append(look)

    def publish(self) -> None:
        """Show the others that we are alive, and what we watch."""
        for look in self._watched:
            look()
        self._tally.heartbeat = time.monotonic()

    async def keep(self) -> None:
        """Publish once a second, until cancelled. Then our gauges are gone, and what was counted stays."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self.publish()
                due = loop.time() + _BEAT
                await asyncio.sleep(_BEAT)
                self._set(definitions.LAG, max(0.0, loop.time() - due))
        finally:
            self.publish()
            self._tally.heartbeat = 0.0

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """What all workers have counted, as an Accept header wants it, and its content type.

        The numbers are read at once; a thread makes text of them, for that takes about 10 ms for 1000 series.
        """
        self.publish()
        return await asyncio.to_thread(exposition, Snapshot(self._tallies, time.monotonic(), self._workers), accept)

    def _cell(self, family: MetricDefinition, *labels: str, width: int = 1) -> int:
        return self._tally.cell(Key(family.name, labels), width)

    def _decision(self, limit: str, outcome: str, *, degraded: bool) -> int:
        return self._cell(definitions.DECISIONS, limit, outcome, "degraded" if degraded else "normal")

    def _count(self, family: MetricDefinition, *labels: str) -> None:
        self._cells[self._cell(family, *labels)] += 1.0

    def _set(self, family: MetricDefinition, value: float, *labels: str) -> None:
        self._cells[self._cell(family, *labels)] = value

    def _ruler(self, family: MetricDefinition, *labels: str) -> Callable[[float], None]:
        """What sorts values into the buckets of a histogram: so many cells, one for infinity, one for their sum."""
        cells, bounds = self._cells, family.bounds
        first = self._cell(family, *labels, width=len(bounds) + 2)
        total = first + len(bounds) + 1

        def measure(value: float) -> None:
            cells[first + bisect_left(bounds, value)] += 1.0
            cells[total] += value

        return measure

    def _show_only(self, family: MetricDefinition, *labels: str) -> None:
        """Set one series of a gauge to 1, and unset its others."""
        for key, span in self._tally.spans().items():
            if key.family == family.name:
                self._cells[span.start] = math.nan
        self._set(family, 1.0, *labels)

    def _forget_gauges(self) -> None:
        """What the worker before us showed no longer holds; what it counted does."""
        self._tally.heartbeat = 0.0
        self._tally.began = time.monotonic()
        for key, span in self._tally.spans().items():
            if definitions.BY_NAME[key.family].kind is Kind.GAUGE:
                self._cells[span.start] = math.nan

    def _expect(self) -> None:
        """Start at zero what may never happen, so that its first time is seen as an increase."""
        for family in (definitions.EVICTIONS, definitions.LOG_LINES_DROPPED):
            self._cell(family)
        for family, label in (
            (definitions.STARTS, "death"),
            (definitions.TRANSITIONS, "unavailable"), (definitions.TRANSITIONS, "up"),
            (definitions.AUDIT_LINES, "written"), (definitions.AUDIT_LINES, "failed"),
            (definitions.ANALYTICS, "written"), (definitions.ANALYTICS, "lost"),
            (definitions.RELOADS, "applied"), (definitions.RELOADS, "rejected"),
        ):  # fmt: skip
            self._cell(family, label)


def _status_class(status: int) -> str:
    return f"{status // 100}xx" if 100 <= status < 600 else "other"  # noqa: PLR2004
