"""`Events`: where all parts of a worker report what happened; it counts and logs it."""

import time
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Final

from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.claimed_rate import Unusable, UnusableClaim
from gateway.limits.measured_cost import Measurement, Unmeasured
from gateway.limits.rejection import Rejection
from gateway.telemetry.access_record import AccessRecord
from gateway.telemetry.log import Log
from gateway.telemetry.metrics import Metrics

CountDecision = Callable[[str, Caller, Sequence[Demand], str, tuple[int, ...]], None]
"""Counts a decision for analytics: endpoint, caller, demands, outcome, positions of the demands that were refused."""
CountCost = Callable[[str, Caller, Sequence[Demand], tuple[int, ...], int], None]
"""Counts what a request has cost, for analytics: endpoint, caller, demands, positions of the demands that could not be
paid, tokens."""
_SAMPLE: Final = 60.0
"""Seconds between two lines of the log about the same kind of thing."""

_TRUST: Final = (
    "if a proxy in front of the gateway sent it, add the proxy's network to identity.trusted_proxies; until then all "
    "users behind it are limited as one"
)
_LIST: Final = (
    "if a load balancer in front of the gateway sent it, add its network to the listener's proxy_protocol; until then "
    "none of its connections is served"
)

_STRANGER: Final = (
    "somebody who is not in `from` of a door connected to it; if it is a proxy that asks there, add its address, else "
    "keep others from reaching the door"
)
_LOOP: Final = (
    "an upstream of this gateway leads back to it: look at the upstreams' urls, and at proxies behind them; if another "
    "gateway passes requests on to this one, give each its own name with the setting via"
)
_UNDERSCORE: Final = (
    "send it with hyphens: names with an underscore are never forwarded, since servers behind CGI or WSGI cannot tell "
    "X_User_Id from X-User-Id"
)
_UNUSABLE: Final = {
    Unusable.MISSING: "the user has no such attribute, and so the limit's own rate",
    Unusable.INVALID: "the attribute is not a whole number from 1, so the user has the limit's own rate",
    Unusable.ABOVE_MOST: "the attribute is above at_most, which the user has instead",
}
_UNMEASURED: Final = {
    Unmeasured.MISSING: "the response has no header with its cost, so the estimate stays charged",
    Unmeasured.REPEATED: "the response states its cost more than once, so the estimate stays charged",
    Unmeasured.INVALID: "the cost that the response states is not a whole number, so the estimate stays charged",
    Unmeasured.ABOVE_MOST: "the response costs more than at_most, which is charged instead",
}
_MAX_DROPPED: Final = 32
"""Names of dropped headers that a worker logs; clients choose them."""

_MAX_VALUE: Final = 256
"""Characters of a client's text in a line of the log."""


def no_analytics(
    _endpoint: str, _caller: Caller, _demands: Sequence[Demand], _outcome: str, _: tuple[int, ...]
) -> None:
    """Count nothing: analytics are off."""


def no_costs(_endpoint: str, _caller: Caller, _demands: Sequence[Demand], _: tuple[int, ...], _cost: int) -> None:
    """Count nothing: analytics are off."""


class Events:
    """Implements the observers of the proxy, the limiter and the analytics with metrics and log lines.

    Args:
        log: The worker's log.
        metrics: The worker's metrics.
        access_log: The share of requests that get an access log line, 0 to 1.
        count: Counts decisions for analytics.
        count_cost: Counts what requests have cost, if that was not known when they were decided on.
        clock: Seconds since any instant.
    """

    __slots__ = (
        "_access_credit",
        "_access_log",
        "_clock",
        "_count",
        "_count_cost",
        "_dropped",
        "_log",
        "_metrics",
        "_samples",
    )

    def __init__(
        self,
        log: Log,
        metrics: Metrics,
        *,
        access_log: float,
        count: CountDecision = no_analytics,
        count_cost: CountCost = no_costs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._access_log = access_log
        self._count = count
        self._count_cost = count_cost
        self._clock = clock
        self._access_credit = 0.0  # a line is written each time it reaches 1
        self._dropped: set[str] = set()
        self._samples: dict[tuple[str, str], tuple[float, int]] = {}

    # RequestObserver

    def decided(self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict) -> None:
        """The limiter decided on a request."""
        self._metrics.decided(endpoint, demands, verdict.decision, degraded=verdict.degraded)
        self._count(endpoint, caller, demands, verdict.outcome, verdict.decision.refused)

    def bypassed(self, endpoint: str, limits: Iterable[str]) -> None:
        """These limits apply to a request, but did not count it."""
        for limit in limits:
            self._metrics.bypassed(endpoint, limit)

    def upstream_took(self, upstream: str, seconds: float) -> None:
        """An upstream's response is complete."""
        self._metrics.upstream_took(upstream, seconds)

    def upstream_unreachable(self, upstream: str, reason: str, why: str) -> None:
        """A connection to an address of an upstream failed."""
        self._metrics.upstream_failed(upstream, reason)
        self._log.event("upstream_unreachable", level="error", upstream=upstream, reason=reason, why=why)

    def upstream_failed(self, upstream: str, address: str, reason: str, why: str) -> None:
        """A server of an upstream gave no complete response.

        All are counted, and a sample is logged: of each server and reason one a minute.
        """
        self._metrics.upstream_failed(upstream, reason)
        if (unlogged := self._sample(f"{upstream} {address}", reason)) is not None:
            self._log.event(
                "upstream_failed", level="warning", upstream=upstream, address=address, reason=reason, why=why,
                unlogged=unlogged,
            )  # fmt: skip

    def server_left_out(self, upstream: str, address: str, reason: str, why: str) -> None:
        """A server of an upstream gets no requests for now."""
        self._log.event("server_left_out", level="error", upstream=upstream, address=address, reason=reason, why=why)

    def server_back(self, upstream: str, address: str, seconds: float) -> None:
        """It gets requests again."""
        self._log.event(
            "server_back", level="info", upstream=upstream, address=address, left_out_seconds=round(seconds, 3)
        )

    def name_unresolved(self, name: str, why: str) -> None:
        """Addresses that were known before are used."""
        self._log.event("name_unresolved", level="warning", name=name, why=why)

    def rejected(self, cause: str) -> None:
        """A client connection was rejected or cut off."""
        self._metrics.rejected(cause)
        if cause == "stranger" and (unlogged := self._sample("door", cause)) is not None:
            self._log.event("stranger_rejected", level="warning", fix=_STRANGER, unlogged=unlogged)

    def identity_rejected(self, rejection: Rejection) -> None:
        """Something that names a caller was not accepted.

        All are counted, and a sample is logged: of each source and reason one a minute. A peer that is not trusted is
        logged once: it may be a proxy that is missing in the settings, or anybody who tries.
        """
        source, reason, why = rejection
        self._metrics.identity_rejected(source, reason)
        is_proxy = reason == "untrusted_peer"
        unlogged = self._sample(source, reason, inf if is_proxy else _SAMPLE)
        if unlogged is None:
            return
        if is_proxy:
            fix = _LIST if source == "proxy_protocol" else _TRUST
            self._log.event("proxy_not_trusted", level="warning", source=source, why=why, fix=fix)
            return
        self._log.event("identity_rejected", level="warning", source=source, reason=reason, why=why, unlogged=unlogged)

    def measured(
        self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict, measured: Measurement
    ) -> None:
        """A request ended whose cost was estimated before.

        Those whose response does not state a usable cost are counted, and a sample is logged: of each endpoint and
        reason one a minute.
        """
        self._metrics.measured(endpoint, measured)
        self._count_cost(endpoint, caller, demands, verdict.decision.refused, measured.cost)
        problem = measured.problem
        if problem is not None and (unlogged := self._sample(f"cost {endpoint}", problem.value)) is not None:
            self._log.event(
                "cost_unmeasured", level="warning", endpoint=endpoint, reason=problem.value, why=_UNMEASURED[problem],
                cost=measured.cost, unlogged=unlogged,
            )  # fmt: skip

    def spent(self, endpoint: str, caller: Caller, demands: Sequence[Demand], verdict: Verdict, cost: int) -> None:
        """So many tokens were charged for a decision on an endpoint whose cost is measured otherwise."""
        self._count_cost(endpoint, caller, demands, verdict.decision.refused, cost)

    def claims_unusable(self, claims: Iterable[UnusableClaim]) -> None:
        """A user has another rate than the one in the user's attribute, or there is none.

        All are counted, and a sample is logged: of each limit and reason one a minute.
        """
        for limit, attribute, reason in claims:
            self._metrics.claim_unusable(limit, reason.value)
            if (unlogged := self._sample(f"claim {limit}", reason.value)) is not None:
                self._log.event(
                    "claim_unusable", level="warning", limit=limit, attribute=attribute, reason=reason.value,
                    why=_UNUSABLE[reason], unlogged=unlogged,
                )  # fmt: skip

    def loop_detected(self, via: str) -> None:
        """A request has passed this gateway before. All are counted, and one a minute is logged."""
        self._metrics.rejected("loop")
        if (unlogged := self._sample("via", "loop")) is not None:
            self._log.event("loop_detected", level="error", via=via[:_MAX_VALUE], fix=_LOOP, unlogged=unlogged)

    def _sample(self, source: str, reason: str, period: float = _SAMPLE) -> int | None:
        """How many of a kind were not logged since the last line, if another line is due; else None."""
        now = self._clock()
        due, unlogged = self._samples.get((source, reason), (-inf, 0))
        if now < due:
            self._samples[source, reason] = due, unlogged + 1
            return None
        self._samples[source, reason] = now + period, 0
        return unlogged

    def header_dropped(self, name: str) -> None:
        """A header is not forwarded because of its name. Each name is logged once, and only the first few."""
        if name.lower() not in self._dropped and len(self._dropped) < _MAX_DROPPED:
            self._dropped.add(name.lower())
            self._log.event("header_dropped", level="warning", name=name[:_MAX_VALUE], fix=_UNDERSCORE)

    def served(self, record: AccessRecord) -> None:
        """A request ended."""
        self._metrics.request(record.endpoint, record.outcome, record.status)
        if record.method:  # else the head could not be read
            self._metrics.request_took(record.endpoint, record.seconds)
        if record.outcome is Outcome.BAD_REQUEST:
            self._metrics.bad_request(record.reason)
        if self._access_log:
            self._access_credit += self._access_log
            if self._access_credit >= 1.0:
                self._access_credit -= 1.0
                self._log.access(record)

    def failed(self, request_id: str, status: int, error: Exception) -> None:
        """A request ended with an unexpected error."""
        self._metrics.request("", "failed", status)
        self._log.failure("request_failed", error, request_id=request_id, status=status)

    # RedisObserver

    def redis_answered(self, checks: int, seconds: float) -> None:
        """Redis decided on so many checks in one round trip."""
        self._metrics.store_checks(checks)
        self._metrics.store_took(seconds)

    def settlements_lost(self, count: int) -> None:
        """Buckets stay charged with what was estimated."""
        self._metrics.settlements_lost(count)

    def redis_unavailable(self, reason: str) -> None:
        """From now on this worker decides without Redis."""
        self._metrics.redis_changed("unavailable")
        self._log.event("redis_unavailable", level="error", why=reason)

    def redis_still_unavailable(self, reason: str) -> None:
        """Redis is still unavailable, for another reason."""
        self._log.event("redis_unavailable", level="error", why=reason)

    def redis_back(self, seconds: float) -> None:
        """This worker decides with Redis again, after so many seconds without."""
        self._metrics.redis_changed("up")
        self._log.event("redis_back", level="info", unavailable_seconds=round(seconds, 3))

    def redis_misconfigured(self, warning: str) -> None:
        """Redis has a setting that may lose buckets or refuse writes."""
        self._log.event("redis_misconfigured", level="warning", warning=warning)

    # AnalyticsObserver

    def analytics_written(self, requests: int) -> None:
        """So many decided requests were written."""
        self._metrics.analytics("written", requests)

    def analytics_lost(self, requests: int) -> None:
        """So many decided requests will not be written."""
        self._metrics.analytics("lost", requests)

    def analytics_unavailable(self, reason: str) -> None:
        """From now on the sink cannot be written to."""
        self._log.event("analytics_unavailable", level="error", why=reason)

    def analytics_back(self, batches: int) -> None:
        """The sink can be written to again; so many batches are waiting."""
        self._log.event("analytics_back", level="info", batches=batches)

    def analytics_failed(self, error: Exception) -> None:
        """Writing failed with an unexpected error."""
        self._log.failure("analytics_failed", error)

    def analytics_incomplete(self, requests: int) -> None:
        """The worker exits, and could not write so many requests."""
        self._log.event("analytics_incomplete", level="error", requests=requests)
