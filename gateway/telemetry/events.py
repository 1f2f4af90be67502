"""`Events`: what every part has to say, put where operators look: metrics and log."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.bucket import Demand
from gateway.limits.identity import Caller
from gateway.telemetry.log import Log
from gateway.telemetry.log_format import AccessRecord
from gateway.telemetry.metrics import Metrics


class Count(Protocol):
    """Counts decisions: see `gateway.analytics.rollup`."""

    def __call__(
        self, endpoint: str, caller: Caller, demands: Sequence[Demand], outcome: str, refused: tuple[int, ...], /
    ) -> None: ...


def uncounted(
    endpoint: str, caller: Caller, demands: Sequence[Demand], outcome: str, refused: tuple[int, ...], /
) -> None:
    """Counts nothing, where there are no analytics."""


class Events:
    """Stands behind the ports through which the data plane and the store tell what happened.

    Args:
        log: Of this process.
        metrics: Of this worker.
        access_log: The share of requests that have a line in the log, 0 to 1.
        count: Counts decisions for the analytics.
    """

    __slots__ = ("_access_log", "_count", "_due", "_log", "_metrics")

    def __init__(self, log: Log, metrics: Metrics, *, access_log: float, count: Count = uncounted) -> None:
        self._log = log
        self._metrics = metrics
        self._access_log = access_log
        self._count = count
        self._due = 0.0  # of the next line: it is written at 1

    # As the proxy's observer.

    def decided(self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict) -> None:
        """Limits were asked."""
        refused = verdict.decision.refused
        self._metrics.decided(demands, refused, degraded=verdict.degraded)
        self._count(endpoint, caller, demands, verdict.outcome, refused)

    def bypassed(self, limits: Iterable[str]) -> None:
        """Limits did not count a request that falls under them."""
        for limit in limits:
            self._metrics.bypassed(limit)

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """An upstream has answered to the end."""
        self._metrics.upstream_took(upstream, seconds)

    def upstream_unreachable(self, upstream: str, why: str) -> None:
        """No connection to an address of an upstream came about."""
        self._log.event("upstream_unreachable", level="error", upstream=upstream, why=why)

    def name_unresolved(self, name: str, why: str) -> None:
        """Addresses that were known before are used."""
        self._log.event("name_unresolved", level="warning", name=name, why=why)

    def rejected(self, cause: str) -> None:
        """A connection was not taken, or was cut off."""
        self._metrics.rejected(cause)

    def served(
        self, request_id: str, endpoint: str, method: str, caller: bytes, outcome: Outcome, status: int, seconds: float
    ) -> None:
        """A request has come to its end."""
        self._metrics.request(endpoint, outcome, status)
        if self._access_log:
            self._due += self._access_log
            if self._due >= 1.0:
                self._due -= 1.0
                self._log.access(AccessRecord(request_id, endpoint, method, outcome, status, seconds, caller.decode()))

    def failed(self, request_id: str, status: int, error: Exception) -> None:
        """A request has come to its end by an error that nobody foresaw."""
        self._metrics.request("", "failed", status)
        self._log.failure("request_failed", error, request_id=request_id, status=status)

    # As the limiter's observer.

    def redis_answered(self, checks: int, seconds: float) -> None:
        """Redis decided on so many checks in one round trip."""
        self._metrics.store_asked(checks)
        self._metrics.store_took(seconds)

    def redis_unavailable(self, reason: str) -> None:
        """From now on this worker decides without Redis."""
        self._metrics.redis_turned("unavailable")
        self._log.event("redis_unavailable", level="error", why=reason)

    def redis_back(self, seconds: float) -> None:
        """This worker decides with Redis again, after so many seconds without."""
        self._metrics.redis_turned("up")
        self._log.event("redis_back", level="error", unavailable_seconds=round(seconds, 3))

    def redis_misconfigured(self, warning: str) -> None:
        """Redis has a setting that may lose buckets or refuse writes."""
        self._log.event("redis_setup", level="warning", what=warning)

    # As the observer of the analytics.

    def analytics_written(self, requests: int) -> None:
        """So many decided requests have been written."""
        self._metrics.analysed("written", requests)

    def analytics_lost(self, requests: int) -> None:
        """So many are lost."""
        self._metrics.analysed("lost", requests)

    def analytics_away(self, why: str) -> None:
        """From now on nothing can be written."""
        self._log.event("analytics_away", level="error", why=why)

    def analytics_back(self, held: int) -> None:
        """It can again; so many batches were held meanwhile."""
        self._log.event("analytics_back", level="error", held=held)

    def analytics_failed(self, error: Exception) -> None:
        """It cannot, for a reason nobody foresaw."""
        self._log.failure("analytics_failed", error)

    def analytics_ended(self, lost: int) -> None:
        """The end has come, and so many requests could not be written."""
        self._log.event("analytics_ended", level="error", lost=lost)
