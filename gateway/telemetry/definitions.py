"""All metrics. Label values come from the configuration and from our own code, never from a client."""

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b


class MetricType(Enum):
    """The types of Prometheus that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """A metric.

    Attributes:
        name: As Prometheus shows it.
        type: Counter, gauge or histogram.
        help: What it measures, for operators.
        labels: Names of its labels.
        bounds: Upper bounds of a histogram's buckets, without infinity.
        per_worker: Whether each worker has a series of its own, labelled `worker`. Otherwise counts of all workers are
            added up, and of a gauge, which has the same value in all of them, that of the last started one is shown.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    per_worker: bool = False


def _counter(name: str, text: str, *labels: str, per_worker: bool = False) -> MetricDefinition:
    return MetricDefinition(name, MetricType.COUNTER, text, labels, per_worker=per_worker)


def _gauge(name: str, text: str, *labels: str, per_worker: bool = True) -> MetricDefinition:
    return MetricDefinition(name, MetricType.GAUGE, text, labels, per_worker=per_worker)


def _histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> MetricDefinition:
    return MetricDefinition(name, MetricType.HISTOGRAM, text, labels, bounds)


REQUESTS = _counter(
    "gateway_requests_total", "Requests, by endpoint, outcome and status class of the response.",
    "endpoint", "outcome", "status",
)  # fmt: skip
DECISIONS = _counter(
    "gateway_limit_decisions_total",
    "Decisions of each limit on requests to each endpoint. A limit can allow a request that another one refuses. "
    "bypassed: the caller is exempt, or the request carried a bypass token. mode is degraded while Redis is "
    "unavailable.",
    "endpoint", "limit", "outcome", "mode",
)  # fmt: skip
NEARLY_SPENT = _counter(
    "gateway_limit_nearly_spent_total",
    "Decisions after which a bucket of the limit held less than 20 % of its burst, refusals included.",
    "limit",
)
TRANSITIONS = _counter(
    "gateway_redis_transitions_total", "Times a worker found Redis unavailable (to=unavailable) or back (to=up).", "to"
)
EVICTIONS = _counter(
    "gateway_local_evictions_total",
    "Buckets evicted from a worker's memory because it was full; what they owed is lost.",
)
CONNECTIONS_REJECTED = _counter(
    "gateway_connections_rejected_total", "Client connections that were rejected or cut off, by cause.", "cause"
)
BAD_REQUESTS = _counter(
    "gateway_bad_requests_total",
    "Requests that the gateway itself does not serve, by what is wrong with them.",
    "reason",
)
UPSTREAM_FAILURES = _counter(
    "gateway_upstream_failures_total",
    "Times a server of an upstream gave no complete response, by reason. The request may have gone to another server.",
    "upstream", "reason",
)  # fmt: skip
IDENTITY_REJECTED = _counter(
    "gateway_identity_rejected_total",
    "Credentials and headers that say who a client, a caller or an operator is, and were not accepted.",
    "source", "reason",
)  # fmt: skip
CLAIMS_UNUSABLE = _counter(
    "gateway_claims_unusable_total",
    "Requests of users who have another rate than the one in their attribute, by why: missing, invalid or above_most.",
    "limit", "reason",
)  # fmt: skip
COST_ESTIMATED = _counter(
    "gateway_cost_estimated_total",
    "Tokens that were charged at first for requests whose cost is measured when they have ended.",
    "endpoint",
)
COST_MEASURED = _counter(
    "gateway_cost_measured_total", "Tokens that those requests have cost; the difference was charged or refunded.",
    "endpoint",
)  # fmt: skip
COST_UNMEASURED = _counter(
    "gateway_cost_unmeasured_total",
    "Those of them whose response does not state its cost (reason missing, repeated or invalid), or one above at_most.",
    "endpoint", "reason",
)  # fmt: skip
SETTLEMENTS_LOST = _counter(
    "gateway_settlements_lost_total",
    "Buckets that stay charged with an estimate, because Redis was unavailable when a request ended.",
)
AUDIT_LINES = _counter(
    "gateway_audit_lines_total", "Audit log lines, by whether they were written or the write failed.", "outcome"
)
RELOADS = _counter("gateway_rules_reloads_total", "Rule reloads, by whether they were applied or rejected.", "outcome")
ANALYTICS = _counter(
    "gateway_analytics_requests_total", "Decided requests, by whether analytics recorded or lost them.", "outcome"
)
JWKS_FETCHES = _counter(
    "gateway_jwks_fetches_total",
    "Times the keys of an issuer were fetched (outcome=fetched) or could not be (outcome=failed).",
    "jwks", "outcome",
)  # fmt: skip
LOG_LINES_DROPPED = _counter("gateway_log_lines_dropped_total", "Log lines dropped because they could not be written.")
SERIES_LOST = _counter("gateway_series_lost_total", "Metric series that are not counted because there are too many.")
STARTS = _counter(
    "gateway_worker_starts_total",
    "Worker starts, by cause: the gateway's start, the death of the previous worker, or a rolling restart.",
    "cause", per_worker=True,
)  # fmt: skip
CPU = _counter(
    "gateway_worker_cpu_seconds_total", "CPU time used in a worker slot, by all its workers so far.", per_worker=True
)

STORE_SECONDS = _histogram(
    "gateway_store_seconds", "Duration of one round trip to Redis.",
    (0.0001, 0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1),
)  # fmt: skip
STORE_CHECKS = _histogram(
    "gateway_store_checks", "Checks sent to Redis in one round trip.", (1, 2, 4, 8, 16, 32, 64, 128, 256)
)
REQUEST_SECONDS = _histogram(
    "gateway_request_seconds", "Time from the head of a request to the end of its response, by endpoint.",
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60), "endpoint",
)  # fmt: skip
UPSTREAM_SECONDS = _histogram(
    "gateway_upstream_seconds", "Time from the first byte sent to the upstream to the last byte of its response.",
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60), "upstream",
)  # fmt: skip

REDIS_UP = _gauge("gateway_redis_up", "1 while the worker decides with Redis, 0 while Redis is unavailable to it.")
FLEET = _gauge("gateway_fleet_size", "Workers in the fleet (all gateways on one Redis), as seen by this worker.")
LOCAL_BUCKETS = _gauge("gateway_local_buckets", "Buckets in the worker's memory.")
OVERRIDES = _gauge("gateway_overrides", "Active overrides.")
ANALYTICS_WAITING = _gauge("gateway_analytics_waiting_rows", "Analytics rows waiting to be written.")
CONNECTIONS = _gauge("gateway_connections", "Open client connections.")
HANDSHAKES_WAITING = _gauge("gateway_handshakes_waiting", "Client connections that wait to begin their TLS handshake.")
RULES = _gauge("gateway_rules_info", "Always 1; revision is that of the active rules.", "revision")
RULES_PINNED = _gauge(
    "gateway_rules_pinned",
    "1 while a revision of the rules is in force although the rule files differ from it, else 0.",
)
RULES_UNCONFIRMED = _gauge(
    "gateway_rules_unconfirmed", "1 while a reload of the rules waits to be confirmed, and is taken back otherwise."
)
BUILD = _gauge("gateway_build_info", "Always 1; version and python are those that are running.", "version", "python")
LIMIT_RATE = _gauge(
    "gateway_limit_rate_tokens_per_second",
    "Rate of a limit in force; tier is empty for callers in none of its tiers. Overrides are not included. None of a "
    "calendar quota.",
    "limit", "tier", per_worker=False,
)  # fmt: skip
LIMIT_BURST = _gauge(
    "gateway_limit_burst_tokens",
    "Burst of a limit in force, by tier as above; of a calendar quota, the tokens of a period; of a limit of requests "
    "at once, how many.",
    "limit",
    "tier",
    per_worker=False,
)
LIMIT_IN_FLIGHT = _gauge(
    "gateway_limit_in_flight", "Requests in flight that a limit of requests at once counts.", "limit"
)
RULES_LOADED = _gauge("gateway_rules_loaded_timestamp_seconds", "Unix time at which the active rules were loaded.")
CERTIFICATE_EXPIRY = _gauge(
    "gateway_certificate_expiry_timestamp_seconds",
    "Unix time at which a certificate of a listener, one for an upstream, or a revocation list in client_ca expires: "
    "the first, if there are several.",
    "certificate",
)
JWKS_FETCHED = _gauge(
    "gateway_jwks_fetched_timestamp_seconds",
    "Unix time at which the keys of an issuer were last fetched; 0 if never.",
    "jwks", per_worker=False,
)  # fmt: skip
JWKS_STALE = _gauge(
    "gateway_jwks_stale_timestamp_seconds",
    "Unix time at which the keys of an issuer become too old to be used, unless they are fetched before.",
    "jwks", per_worker=False,
)  # fmt: skip
LAG = _gauge("gateway_event_loop_lag_seconds", "How late the event loop ran its last timer; above 0 when it is busy.")
WORKER_UP = _gauge("gateway_worker_up", "1 if the worker's heartbeat is recent, 0 otherwise.")

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, MetricDefinition))
LAYOUT = blake2b(
    repr([(each.name, each.type, each.labels, each.bounds, each.per_worker) for each in METRICS]).encode(),
    digest_size=8,
).hexdigest()
"""Equal for two versions of the program whose metrics are the same, so that one can continue the other's counters."""

BY_NAME = {each.name: each for each in METRICS}
