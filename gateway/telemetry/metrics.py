"""`Metrics`: one worker's metrics. Counting costs a few additions in shared memory, see `shared_memory`.

Only the event loop's thread counts, so there is no lock. Values that change by themselves (connections, buckets) are
read once a second, and at each scrape, from callables that the composition root registers with `watch`.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Literal

from gateway.limits.bucket import Decision
from gateway.limits.charge import Demand
from gateway.limits.limit import Limit, Over, candidate_name
from gateway.limits.measured_cost import Measurement
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rejection import REASONS
from gateway.telemetry import definitions
from gateway.telemetry.definitions import MetricDefinition, MetricType
from gateway.telemetry.exposition import Snapshot, exposition
from gateway.telemetry.series import Histogram, Series
from gateway.telemetry.shared_memory import SharedCounters

Cause = Literal["start", "death", "restart"]
"""Why a worker was started: with the gateway; because the previous one died; in a rolling restart."""

_MOST_AT_ZERO: Final = 5_000
"""Pairs of endpoint and limit whose series start at zero; of more, they appear with the first decision."""

_MOST_ENDPOINTS_AT_ZERO: Final = 1_000
"""Endpoints whose durations and errors start at zero, as above."""

_CAUSES: Final = (
    "slow_head", "unreadable", "slow_reader", "slow_body", "large_body", "proxy_protocol", "handshake", "loop",
    "stranger", "too_many_handshakes",
)  # fmt: skip
"""Why a client connection is rejected or cut off."""

_PUBLISH_INTERVAL = 1.0
"""Seconds."""


class Metrics:
    """Counts for one worker, and responds to scrapes for all.

    Args:
        counters: Of all workers of this gateway, made before they were forked; see `Snapshot`.
        index: Which of them this worker counts in.
        workers: How many workers there are; None if there is one set of counters.
        cause: Why this worker was started.

    Attributes:
        store_took: Records the seconds of a round trip to Redis.
        store_checks: Records the number of checks in a round trip to Redis.
    """

    def __init__(
        self, counters: Sequence[SharedCounters], index: int = 0, workers: int | None = None, cause: Cause = "start"
    ) -> None:
        self._all_counters = counters
        self._workers = workers
        self._counters = counters[index]
        self._series = Series(self._counters)
        self._cells = self._counters.cells
        self._requests: dict[tuple[str, str, int], int] = {}
        self._durations: dict[str, Histogram] = {}
        self._decisions: dict[tuple[str, str, str, bool], int] = {}
        self._nearly_spent: dict[str, int] = {}
        self._upstreams: dict[str, Histogram] = {}
        self._updates: list[Callable[[], None]] = []
        self._series.clear_gauges()
        self._start_at_zero()
        self.store_took = self._series.histogram(definitions.STORE_SECONDS).record
        self.store_checks = self._series.histogram(definitions.STORE_CHECKS).record
        self._series.count(definitions.STARTS, cause)
        self.watch(definitions.CPU, time.process_time)

    def expect_bad_requests(self, reasons: Iterable[str]) -> None:
        """Create the series of these reasons at zero."""
        for reason in reasons:
            self._series.cell(definitions.BAD_REQUESTS, reason)

    # For each request.

    def request(self, endpoint: str, outcome: str, status: int) -> None:
        """Count a request. `endpoint` is empty if the request could not be matched to one."""
        key = (endpoint, outcome, status // 100)
        cell = self._requests.get(key)
        if cell is None:
            cell = self._requests[key] = self._series.cell(
                definitions.REQUESTS, endpoint, outcome, _status_class(status)
            )
        self._cells[cell] += 1.0

    def request_took(self, endpoint: str, seconds: float) -> None:
        """Record how long a request took, from its head to the end of its response."""
        taken = self._durations.get(endpoint)
        if taken is None:
            taken = self._durations[endpoint] = self._series.histogram(definitions.REQUEST_SECONDS, endpoint)
        taken.record(seconds)

    def decided(self, endpoint: str, demands: Iterable[Demand], decision: Decision, *, degraded: bool = False) -> None:
        """Count each limit's decision on a request, and the buckets in which it left little.

        Args:
            endpoint: Its name.
            demands: What was asked of the buckets.
            decision: What they said.
            degraded: Whether it was decided without the shared store.
        """
        cells, known = self._cells, self._decisions
        allowed, owed, refused = decision.allowed, decision.owed, decision.refused
        position = 0
        for demand in demands:
            charge = demand.charge
            debt = owed[position]
            outcome = "allowed"
            if position in refused:
                outcome = charge.over
            elif allowed:
                debt += charge.due
            if debt > charge.quota.nearly_spent:
                cell = self._nearly_spent.get(charge.limit)
                if cell is None:
                    cell = self._nearly_spent[charge.limit] = self._series.cell(definitions.NEARLY_SPENT, charge.limit)
                cells[cell] += 1.0
            key = (endpoint, charge.limit, outcome, degraded)
            cell = known.get(key)
            if cell is None:
                cell = known[key] = self._decision(endpoint, charge.limit, outcome, degraded=degraded)
            cells[cell] += 1.0
            position += 1  # noqa: SIM113 - enumerate would allocate a tuple for each demand

    def bypassed(self, endpoint: str, limit: str) -> None:
        """Count a request to `endpoint` that `limit` did not count."""
        self._cells[self._decision(endpoint, limit, "bypassed", degraded=False)] += 1.0

    def claim_unusable(self, limit: str, reason: str) -> None:
        """Count a request whose user states no usable rate to a limit."""
        self._series.count(definitions.CLAIMS_UNUSABLE, limit, reason)

    def measured(self, endpoint: str, measured: Measurement) -> None:
        """Count what a request was estimated to cost, and what it has cost."""
        self._cells[self._series.cell(definitions.COST_ESTIMATED, endpoint)] += measured.estimate
        self._cells[self._series.cell(definitions.COST_MEASURED, endpoint)] += measured.cost
        if measured.problem is not None:
            self._series.count(definitions.COST_UNMEASURED, endpoint, measured.problem.value)

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """Record how long an upstream took for one request."""
        taken = self._upstreams.get(upstream)
        if taken is None:
            taken = self._upstreams[upstream] = self._series.histogram(definitions.UPSTREAM_SECONDS, upstream)
        taken.record(seconds)

    def rejected(self, cause: str) -> None:
        """Count a client connection that was rejected or cut off."""
        self._series.count(definitions.CONNECTIONS_REJECTED, cause)

    def bad_request(self, reason: str) -> None:
        """Count a request that the gateway does not serve."""
        self._series.count(definitions.BAD_REQUESTS, reason)

    def upstream_failed(self, upstream: str, reason: str) -> None:
        """Count a server that gave no complete response."""
        self._series.count(definitions.UPSTREAM_FAILURES, upstream, reason)

    def identity_rejected(self, source: str, reason: str) -> None:
        """Count a credential or header that names a caller and was not accepted."""
        self._series.count(definitions.IDENTITY_REJECTED, source, reason)

    # Now and then.

    def settlements_lost(self, count: int) -> None:
        """Count buckets that stay charged with an estimate."""
        self._cells[self._series.cell(definitions.SETTLEMENTS_LOST)] += count

    def redis_changed(self, to: Literal["up", "unavailable"]) -> None:
        """Count that this worker found Redis unavailable, or back."""
        self._series.count(definitions.TRANSITIONS, to)

    def audited(self, outcome: Literal["written", "failed"]) -> None:
        """Count a line of the audit log."""
        self._series.count(definitions.AUDIT_LINES, outcome)

    def reloaded(self, outcome: Literal["applied", "rejected"]) -> None:
        """Count a reload of the rules."""
        self._series.count(definitions.RELOADS, outcome)

    def analytics(self, outcome: Literal["written", "lost"], requests: int) -> None:
        """Count decided requests that analytics recorded or lost."""
        self._cells[self._series.cell(definitions.ANALYTICS, outcome)] += requests

    def rules(self, revision: str, endpoints: Collection[str], limits: Iterable[Limit]) -> None:
        """Show which rules are active. Their series start at zero, so that the first refusal shows as an increase."""
        limits = list(limits)
        self._series.show_only(definitions.RULES, {(revision,): 1.0})
        self._series.set(definitions.RULES_LOADED, time.time())
        for endpoint in endpoints:
            self._series.cell(definitions.REQUESTS, endpoint, "allowed", "2xx")
            self._series.cell(definitions.REQUESTS, endpoint, "refused", "4xx")
        for endpoint in endpoints if len(endpoints) <= _MOST_ENDPOINTS_AT_ZERO else ():
            self._series.cell(definitions.REQUESTS, endpoint, "upstream_error", "5xx")
            self._series.cell(definitions.REQUESTS, endpoint, "unavailable", "5xx")
            self._series.histogram(definitions.REQUEST_SECONDS, endpoint)
        applying = [(endpoint, limit) for limit in limits for endpoint in endpoints if limit.applies_to(endpoint)]
        for endpoint, limit in applying if len(applying) <= _MOST_AT_ZERO else ():
            tells = ["told"] * (limit.over is Over.TELL)
            refuses = ["refused"] * limit.refuses + ["shadow_refused"] * (limit.enforce < 1)
            for outcome in ("allowed", *tells, *refuses):
                self._decision(endpoint, limit.name, outcome, degraded=False)
            for outcome in ("allowed", "shadow_refused") if limit.candidate else ():
                self._decision(endpoint, candidate_name(limit.name), outcome, degraded=False)
        for limit in limits:
            self._series.cell(definitions.NEARLY_SPENT, limit.name)
        quotas = [each for limit in limits for each in _quotas(limit)]
        rates = [(key, each.rate) for key, each in quotas]
        self._series.show_only(
            definitions.LIMIT_RATE,
            {(*key,): rate.tokens / rate.seconds for key, rate in rates if isinstance(rate, Rate)},
        )
        self._series.show_only(definitions.LIMIT_BURST, {key: float(each.burst) for key, each in quotas})

    def certificates(self, expiries: Mapping[str, float]) -> None:
        """Show when certificates expire, in seconds since 1970 by name."""
        self._series.show_only(definitions.CERTIFICATE_EXPIRY, {(name,): expiry for name, expiry in expiries.items()})

    def jwks_fetched(self, url: str, outcome: Literal["fetched", "failed"]) -> None:
        """Count a fetch of an issuer's keys."""
        self._series.count(definitions.JWKS_FETCHES, url, outcome)

    def jwks(self, url: str, fetched_at: float, stale_at: float) -> None:
        """Show when an issuer's keys were last fetched, and when they become too old, in seconds since 1970."""
        self._series.set(definitions.JWKS_FETCHED, fetched_at, url)
        self._series.set(definitions.JWKS_STALE, stale_at, url)
        for outcome in ("fetched", "failed"):
            self._series.cell(definitions.JWKS_FETCHES, url, outcome)

    def upstreams(self, names: Iterable[str], reasons: Collection[str]) -> None:
        """Start the failures of upstreams at zero, by reason."""
        for name in names:
            for reason in reasons:
                self._series.cell(definitions.UPSTREAM_FAILURES, name, reason)

    def build(self, version: str, python: str) -> None:
        """Show which versions are running."""
        self._series.show_only(definitions.BUILD, {(version, python): 1.0})

    # Scrapes.

    def watch(self, metric: MetricDefinition, read: Callable[[], float]) -> None:
        """Show what `read` returns: the value of a gauge, or what a counter has counted since this worker started."""
        cell = self._series.cell(metric)
        last = 0.0

        def update() -> None:
            nonlocal last
            value = read()
            if metric.type is MetricType.GAUGE:
                self._cells[cell] = value
            else:
                self._cells[cell] += value - last
                last = value

        update()
        self._updates.append(update)

    def watch_each(self, metric: MetricDefinition, read: Callable[[], Mapping[str, float]]) -> None:
        """Show what `read` returns: the values of a gauge, by its label. One that is not there any more stays."""

        def update() -> None:
            for label, value in read().items():
                self._series.set(metric, value, label)

        update()
        self._updates.append(update)

    def publish(self) -> None:
        """Update what is watched, and the heartbeat."""
        for update in self._updates:
            update()
        self._counters.heartbeat = time.monotonic()

    async def keep_publishing(self) -> None:
        """Publish once a second until cancelled. After that our gauges are hidden; what was counted stays."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self.publish()
                due = loop.time() + _PUBLISH_INTERVAL
                await asyncio.sleep(_PUBLISH_INTERVAL)
                self._series.set(definitions.LAG, max(0.0, loop.time() - due))
        finally:
            self.publish()
            self._counters.heartbeat = 0.0

    async def scrape(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics of all workers in the format that an Accept header asks for, and its content type.

        The numbers are read at once; a thread formats them, which takes about 10 ms for 1000 series.
        """
        self.publish()
        snapshot = Snapshot(self._all_counters, time.monotonic(), self._workers)
        return await asyncio.to_thread(exposition, snapshot, accept)

    def _decision(self, endpoint: str, limit: str, outcome: str, *, degraded: bool) -> int:
        return self._series.cell(definitions.DECISIONS, endpoint, limit, outcome, "degraded" if degraded else "normal")

    def _start_at_zero(self) -> None:
        """Create the series of rare events at zero, so that the first one shows as an increase."""
        for metric in (definitions.EVICTIONS, definitions.LOG_LINES_DROPPED, definitions.SETTLEMENTS_LOST):
            self._series.cell(metric)
        for metric, label in (
            (definitions.STARTS, "death"),
            (definitions.TRANSITIONS, "unavailable"), (definitions.TRANSITIONS, "up"),
            (definitions.AUDIT_LINES, "written"), (definitions.AUDIT_LINES, "failed"),
            (definitions.ANALYTICS, "written"), (definitions.ANALYTICS, "lost"),
            (definitions.RELOADS, "applied"), (definitions.RELOADS, "rejected"),
        ):  # fmt: skip
            self._series.cell(metric, label)
        for cause in _CAUSES:
            self._series.cell(definitions.CONNECTIONS_REJECTED, cause)
        for source, reasons in REASONS.items():
            for reason in reasons:
                self._series.cell(definitions.IDENTITY_REJECTED, source, reason)


def _quotas(limit: Limit) -> Iterable[tuple[tuple[str, str], Quota]]:
    """The quotas of a limit and its candidate, by name and tier; that of callers in none of its tiers has no name."""
    yield (limit.name, ""), limit.quota
    yield from (((limit.name, tier), quota) for tier, quota in limit.tiers.items())
    if limit.candidate is not None:
        name = candidate_name(limit.name)
        yield (name, ""), limit.candidate.quota
        yield from (((name, tier), quota) for tier, quota in limit.candidate.tiers.items())


def _status_class(status: int) -> str:
    return f"{status // 100}xx" if 100 <= status < 600 else "other"  # noqa: PLR2004
