"""The metrics there are. Their labels come from the configuration and from our code, never from a client."""

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b


class Kind(Enum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """A metric.

    Attributes:
        name: As Prometheus shows it.
        kind: Counter, gauge or histogram.
        help: What it says, for people.
        labels: Names of its labels.
        bounds: Upper bounds of a histogram's buckets, without infinity.
        per_worker: Whether each worker's number is shown, with a label `worker`; otherwise they are added up.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    per_worker: bool = False


def _counter(name: str, text: str, *labels: str, per_worker: bool = False) -> MetricDefinition:
    return MetricDefinition(name, Kind.COUNTER, text, labels, per_worker=per_worker)


def _gauge(name: str, text: str, *labels: str) -> MetricDefinition:
    return MetricDefinition(name, Kind.GAUGE, text, labels, per_worker=True)


def _histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> MetricDefinition:
    return MetricDefinition(name, Kind.HISTOGRAM, text, labels, bounds)


REQUESTS = _counter(
    "gateway_requests_total", "Requests, by endpoint, what became of them and the answer's status class.",
    "endpoint", "outcome", "status",
)  # fmt: skip
DECISIONS = _counter(
    "gateway_limit_decisions_total",
    "What each limit said; mode is degraded while Redis is unavailable. A limit may say allowed while another refuses, "
    "and bypassed of a caller it exempts, or who has a token to bypass.",
    "limit", "outcome", "mode",
)  # fmt: skip
TRANSITIONS = _counter(
    "gateway_redis_transitions_total", "Times that a worker found Redis unavailable, or up again.", "to"
)
EVICTIONS = _counter(
    "gateway_local_evictions_total", "Local buckets forgotten, with what they owed, for want of memory."
)
CONNECTIONS_REJECTED = _counter(
    "gateway_connections_rejected_total", "Client connections not taken or cut off.", "cause"
)
AUDIT_LINES = _counter(
    "gateway_audit_lines_total", "Lines of the audit trail, by whether they could be written.", "outcome"
)
RELOADS = _counter("gateway_rules_reloads_total", "Times that rules were read anew, by what became of it.", "outcome")
ANALYTICS = _counter(
    "gateway_analytics_requests_total", "Decided requests, by whether they got into the analytics.", "outcome"
)
LOG_LINES_DROPPED = _counter("gateway_log_lines_dropped_total", "Log lines dropped, because they could not be written.")
SERIES_LOST = _counter("gateway_series_lost_total", "Series that are not counted: there are more than fit.")
STARTS = _counter(
    "gateway_worker_starts_total",
    "Times that a worker was started: with the gateway, after a death, in a rolling restart.",
    "cause", per_worker=True,
)  # fmt: skip
CPU = _counter(
    "gateway_worker_cpu_seconds_total", "Time that a worker and its predecessors kept a core busy.", per_worker=True
)

STORE_SECONDS = _histogram(
    "gateway_store_seconds", "Round trips to the store, one for each call.",
    (0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1),
)  # fmt: skip
STORE_CHECKS = _histogram(
    "gateway_store_checks", "Checks that travelled to the store in one call.", (1, 2, 4, 8, 16, 32, 64, 128, 256)
)
UPSTREAM_SECONDS = _histogram(
    "gateway_upstream_seconds", "From a request's first byte to an upstream to the last byte of its answer.",
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60), "upstream",
)  # fmt: skip

REDIS_UP = _gauge("gateway_redis_up", "1 while a worker decides with Redis, 0 while it finds it unavailable.")
FLEET = _gauge("gateway_fleet_size", "Workers of all gateways that share the limits, as a worker sees them.")
LOCAL_BUCKETS = _gauge("gateway_local_buckets", "Buckets in a worker's memory.")
OVERRIDES = _gauge("gateway_overrides", "Overrides in force.")
ANALYTICS_WAITING = _gauge("gateway_analytics_waiting_rows", "Rows of the analytics that wait to be written.")
CONNECTIONS = _gauge("gateway_connections", "Client connections open.")
RULES = _gauge("gateway_rules_info", "The revision of the rules in force.", "revision")
BUILD = _gauge("gateway_build_info", "What runs here.", "version", "python")
RULES_LOADED = _gauge("gateway_rules_loaded_timestamp_seconds", "When the rules in force were read.")
LAG = _gauge("gateway_event_loop_lag_seconds", "How late a worker came to its last look at the clock: busy, if not 0.")
WORKER_UP = _gauge("gateway_worker_up", "1 while a worker gives signs of life.")

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, MetricDefinition))
LAYOUT = blake2b(
    repr([(family.name, family.kind, family.labels, family.bounds, family.per_worker) for family in METRICS]).encode(),
    digest_size=8,
).hexdigest()
"""The same for two programs that count alike, so that one can go on counting in the other's tallies."""

BY_NAME = {family.name: family for family in METRICS}
