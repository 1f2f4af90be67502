"""`Journal`: what every part has to say, put where operators look: metrics and log."""

from collections.abc import Sequence

from gateway.limits.bucket import Demand
from gateway.limits.identity import Caller
from gateway.proxy.witness import Fate
from gateway.stores.verdict import Verdict
from gateway.telemetry.lines import Access
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics


class Journal:
    """Stands behind the ports through which the data plane and the store tell what happened.

    Args:
        log: Of this process.
        metrics: Of this worker.
        access_log: Whether each request has a line in the log.
    """

    __slots__ = ("_access_log", "_log", "_metrics")

    def __init__(self, log: Log, metrics: Metrics, *, access_log: bool) -> None:
        self._log = log
        self._metrics = metrics
        self._access_log = access_log

    # As the proxy's witness.

    def decided(self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict) -> None:  # noqa: ARG002
        """Limits were asked."""
        self._metrics.decided(demands, verdict.decision.refused, degraded=verdict.degraded)

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """An upstream has answered to the end."""
        self._metrics.upstream_took(upstream, seconds)

    def rejected(self, cause: str) -> None:
        """A connection was not taken, or was cut off."""
        self._metrics.rejected(cause)

    def served(self, endpoint: str, method: str, caller: bytes, fate: Fate, status: int, seconds: float) -> None:
        """A request has come to its end."""
        self._metrics.request(endpoint, fate.value, status)
        if self._access_log:
            self._log.access(Access(endpoint, method, fate.value, status, seconds, caller.decode()))

    # As the store's observer.

    def store_answered(self, checks: int, seconds: float) -> None:
        """A call to the store has come back, after so long; it was about so many checks."""
        self._metrics.store_asked(checks)
        self._metrics.store_took(seconds)

    def store_lost(self, why: str) -> None:
        """Requests are decided without the store from now on."""
        self._metrics.redis_turned("away")
        self._log.event("redis_away", level="error", why=why)

    def store_back(self, seconds: float) -> None:
        """The store decides again, after so long."""
        self._metrics.redis_turned("up")
        self._log.event("redis_back", level="error", away_seconds=round(seconds, 3))

    def store_warns(self, what: str) -> None:
        """The store is set up in a way that may surprise."""
        self._log.event("redis_setup", level="warning", what=what)
