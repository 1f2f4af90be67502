import asyncio
import subprocess
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.limits.bucket import Decision, State, take
from gateway.limits.charge import Charge, Demand
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.telemetry import definitions
from gateway.telemetry import metrics as module
from gateway.telemetry.definitions import METRICS, MetricType
from gateway.telemetry.exposition import STALE, Snapshot, exposition
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.shared_memory import WIDEST, SharedCounters

Labels = dict[str, str]

USER = Limit("user", per=("user",), quota=Quota(Rate(1, 1), 1))


def demand(limit: str, *, enforced: bool = True) -> Demand:
    return Demand(b"", Charge.of(limit, Quota(Rate(1, 1), 1), 1, enforced=enforced))


def refused(*positions: int) -> Decision:
    return Decision(not positions, 0, (0, 0, 0), positions)


ALLOWED = refused()


async def scraped(metrics: Metrics) -> dict[str, list[tuple[Labels, float]]]:
    """The result of a scrape: by name, all labels and values."""
    return parsed((await metrics.scrape())[0])


def parsed(text: bytes) -> dict[str, list[tuple[Labels, float]]]:
    samples: dict[str, list[tuple[Labels, float]]] = {}
    for metric in text_string_to_metric_families(text.decode()):
        for sample in metric.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


@pytest.fixture
def counters() -> list[SharedCounters]:
    return [SharedCounters(), SharedCounters()]


@pytest.fixture
def metrics(counters: list[SharedCounters]) -> Metrics:
    return Metrics(counters, 0)


async def test_requests_are_counted_by_endpoint_outcome_and_status_class(metrics: Metrics) -> None:
    for status in (200, 204, 404):
        metrics.request("orders", "allowed", status)
    metrics.request("orders", "refused", 429)
    metrics.request("", "bad_request", 400)
    metrics.request("orders", "allowed", 999)
    assert (await scraped(metrics))["gateway_requests_total"] == [
        ({"endpoint": "", "outcome": "bad_request", "status": "4xx"}, 1),
        ({"endpoint": "orders", "outcome": "allowed", "status": "2xx"}, 2),
        ({"endpoint": "orders", "outcome": "allowed", "status": "4xx"}, 1),
        ({"endpoint": "orders", "outcome": "allowed", "status": "other"}, 1),
        ({"endpoint": "orders", "outcome": "refused", "status": "4xx"}, 1),
    ]


async def test_the_duration_of_whole_requests_is_recorded_by_endpoint(metrics: Metrics) -> None:
    metrics.request_took("orders", 0.03)
    metrics.request_took("orders", 70)
    got = await scraped(metrics)
    assert ({"endpoint": "orders"}, 70.03) in got["gateway_request_seconds_sum"]
    buckets = {labels["le"]: value for labels, value in got["gateway_request_seconds_bucket"]}
    assert (buckets["0.02"], buckets["0.05"], buckets["60.0"], buckets["+Inf"]) == (0, 1, 1, 2)


async def test_decisions_are_counted_for_each_limit_at_each_endpoint(metrics: Metrics) -> None:
    for endpoint in ("orders", "carts"):
        metrics.decided(endpoint, [demand("user")], ALLOWED)
    metrics.decided("carts", [demand("user")], refused(0))
    got = (await scraped(metrics))["gateway_limit_decisions_total"]
    assert sorted((labels["endpoint"], labels["outcome"], value) for labels, value in got) == [
        ("carts", "allowed", 1), ("carts", "refused", 1), ("orders", "allowed", 1),
    ]  # fmt: skip


async def test_limits_start_at_zero_where_they_apply_and_very_many_do_not(metrics: Metrics) -> None:
    metrics.rules("r1", ["orders", "carts"], [replace(USER, endpoints=frozenset({"carts"}), enforce=False)])
    got = (await scraped(metrics))["gateway_limit_decisions_total"]
    assert sorted((labels["endpoint"], labels["outcome"], value) for labels, value in got) == [
        ("carts", "allowed", 0), ("carts", "shadow_refused", 0),
    ]  # fmt: skip
    metrics.rules("r2", [f"e{number}" for number in range(5_001)], [USER])
    assert len((await scraped(metrics))["gateway_limit_decisions_total"]) == 2


async def test_decisions_are_counted_for_each_limit(metrics: Metrics) -> None:
    demands = [demand("user"), demand("endpoint"), demand("new", enforced=False)]
    metrics.decided("orders", demands, ALLOWED)
    metrics.decided("orders", demands, refused(1, 2))
    metrics.decided("orders", demands, refused(0), degraded=True)
    metrics.bypassed("orders", "user")
    got = {
        (labels["limit"], labels["outcome"], labels["mode"]): value
        for labels, value in (await scraped(metrics))["gateway_limit_decisions_total"]
    }
    assert got == {
        ("user", "allowed", "normal"): 2,
        ("user", "refused", "degraded"): 1,
        ("user", "bypassed", "normal"): 1,
        ("endpoint", "allowed", "normal"): 1,
        ("endpoint", "refused", "normal"): 1,
        ("endpoint", "allowed", "degraded"): 1,
        ("new", "allowed", "normal"): 1,
        ("new", "shadow_refused", "normal"): 1,
        ("new", "allowed", "degraded"): 1,
    }


async def test_decisions_that_left_less_than_a_fifth_of_a_bucket_are_counted(metrics: Metrics) -> None:
    state: State | None = None
    for left in range(9, -3, -1):  # the last two are refused
        demands = [Demand(b"", Charge.of("ten", Quota(Rate(1, 86_400), 10), 1))]
        decision, (after,) = take(demands, [state], 0)
        metrics.decided("orders", demands, decision, degraded=left % 2 == 0)
        state = after or state
    assert (await scraped(metrics))["gateway_limit_nearly_spent_total"] == [({"limit": "ten"}, 4)]


async def test_a_request_that_a_bucket_does_not_pay_leaves_it_as_it_was(metrics: Metrics) -> None:
    quota = Quota(Rate(1, 86_400), 10)
    demands = [Demand(b"", Charge.of("ten", quota, 9)), Demand(b"", Charge.of("trial", quota, 9, enforced=False))]
    full, half = 0, 5 * quota.interval
    metrics.decided("orders", demands, Decision(False, 0, (half, full), (0,)))
    assert "gateway_limit_nearly_spent_total" not in await scraped(metrics)
    metrics.decided("orders", demands, Decision(True, 0, (full, half), (1,)))
    assert (await scraped(metrics))["gateway_limit_nearly_spent_total"] == [({"limit": "ten"}, 1)]


async def test_rates_and_bursts_are_those_in_force_whichever_worker_responds(counters: list[SharedCounters]) -> None:
    workers = [Metrics(counters, number) for number in (0, 1)]
    gold = replace(USER, quota=Quota(Rate(90, 60), 7), tiers={"gold": Quota(Rate(9, 1), 90)})
    for worker in workers:
        worker.publish()
        worker.rules("r1", [], [gold, replace(USER, name="removed")])
        worker.rules("r2", [], [gold])
    for worker in workers:
        got = await scraped(worker)
        assert got["gateway_limit_rate_tokens_per_second"] == [
            ({"limit": "user", "tier": ""}, 1.5), ({"limit": "user", "tier": "gold"}, 9),
        ]  # fmt: skip
        assert got["gateway_limit_burst_tokens"] == [
            ({"limit": "user", "tier": ""}, 7), ({"limit": "user", "tier": "gold"}, 90),
        ]  # fmt: skip
        assert ({"limit": "user"}, 0) in got["gateway_limit_nearly_spent_total"]


async def test_a_histogram_counts_what_is_at_most_its_bound(metrics: Metrics) -> None:
    for seconds in (0.0005, 0.001, 0.0011, 59.0, 61.0):
        metrics.upstream_took("default", seconds)
    metrics.store_checks(16)
    got = await scraped(metrics)
    buckets = {labels["le"]: value for labels, value in got["gateway_upstream_seconds_bucket"]}
    assert (buckets["0.001"], buckets["0.002"], buckets["30.0"], buckets["60.0"], buckets["+Inf"]) == (2, 3, 3, 4, 5)
    assert got["gateway_upstream_seconds_count"] == [({"upstream": "default"}, 5)]
    assert got["gateway_upstream_seconds_sum"][0][1] == pytest.approx(120.0026)
    assert got["gateway_store_checks_sum"] == [({}, 16)]


async def test_events_are_counted_and_start_at_zero(metrics: Metrics) -> None:
    before = await scraped(metrics)
    metrics.redis_changed("unavailable")
    metrics.audited("failed")
    metrics.reloaded("rejected")
    metrics.rejected("slow_head")
    after = await scraped(metrics)
    for name, labels in (
        ("gateway_redis_transitions_total", {"to": "unavailable"}),
        ("gateway_connections_rejected_total", {"cause": "slow_head"}),
        ("gateway_audit_lines_total", {"outcome": "failed"}),
        ("gateway_rules_reloads_total", {"outcome": "rejected"}),
    ):
        assert (labels, 0) in before[name]
        assert (labels, 1) in after[name]
    metrics.analytics("lost", 7)
    assert {value for _, value in before["gateway_analytics_requests_total"]} == {0}
    assert ({"outcome": "lost"}, 7) in (await scraped(metrics))["gateway_analytics_requests_total"]


async def test_a_watched_gauge_is_read_at_each_scrape(metrics: Metrics) -> None:
    connections = [1, 2, 3]
    metrics.watch(definitions.CONNECTIONS, lambda: len(connections))
    connections.append(4)
    assert (await scraped(metrics))["gateway_connections"] == [({"worker": "0"}, 4)]


async def test_a_watched_counter_continues_where_the_previous_worker_stopped(counters: list[SharedCounters]) -> None:
    for evicted in ([1] * 5, [1] * 3):
        metrics = Metrics(counters, 0)
        metrics.watch(definitions.EVICTIONS, evicted.__len__)
        metrics.publish()
    assert (await scraped(metrics))["gateway_local_evictions_total"] == [({}, 8)]


async def test_gauges_of_a_dead_worker_are_not_shown_for_its_successor(counters: list[SharedCounters]) -> None:
    Metrics(counters, 0).rules("r1", [], [])
    Metrics(counters, 0).watch(definitions.CONNECTIONS, lambda: 7)
    got = await scraped(Metrics(counters, 0))
    assert not got.keys() & {"gateway_rules_info", "gateway_connections"}


async def test_what_has_not_happened_to_an_endpoint_or_an_upstream_is_zero(metrics: Metrics) -> None:
    metrics.rules("r1", ["orders"], [])
    metrics.upstreams(["default"], ["refused", "reset"])
    got = await scraped(metrics)
    assert {(labels["outcome"], value) for labels, value in got["gateway_requests_total"]} == {
        ("allowed", 0), ("refused", 0), ("upstream_error", 0), ("unavailable", 0),
    }  # fmt: skip
    assert got["gateway_request_seconds_count"] == [({"endpoint": "orders"}, 0)]
    assert got["gateway_upstream_failures_total"] == [
        ({"upstream": "default", "reason": "refused"}, 0), ({"upstream": "default", "reason": "reset"}, 0),
    ]  # fmt: skip


async def test_certificates_that_were_replaced_are_not_shown(metrics: Metrics) -> None:
    metrics.certificates({"a.pem": 1, "b.pem": 2})
    metrics.certificates({"b.pem": 3})
    got = (await scraped(metrics))["gateway_certificate_expiry_timestamp_seconds"]
    assert got == [({"worker": "0", "certificate": "b.pem"}, 3)]


async def test_only_the_active_rules_are_shown(metrics: Metrics) -> None:
    for revision in ("r1", "r2", "r1"):
        metrics.rules(revision, ["orders"], [USER])
        got = await scraped(metrics)
        assert got["gateway_rules_info"] == [({"worker": "0", "revision": revision}, 1)]
    assert ({"endpoint": "orders", "outcome": "refused", "status": "4xx"}, 0) in got["gateway_requests_total"]
    assert ({"endpoint": "orders", "limit": "user", "outcome": "refused", "mode": "normal"}, 0) in got[
        "gateway_limit_decisions_total"
    ]
    assert got["gateway_rules_loaded_timestamp_seconds"][0][1] > 1_700_000_000


async def test_the_running_versions_are_shown(metrics: Metrics) -> None:
    metrics.build("0.1.0", "3.13.0")
    assert (await scraped(metrics))["gateway_build_info"] == [
        ({"worker": "0", "version": "0.1.0", "python": "3.13.0"}, 1)
    ]


async def test_workers_are_one_target(counters: list[SharedCounters]) -> None:
    workers = [Metrics(counters, number) for number in (0, 1)]
    for connections, worker in zip(([1], [1, 2]), workers, strict=True):
        worker.request("orders", "allowed", 200)
        worker.watch(definitions.CONNECTIONS, connections.__len__)
        worker.publish()
    got = [await scraped(worker) for worker in workers]
    for name in ("gateway_requests_total", "gateway_connections", "gateway_worker_up", "gateway_worker_starts_total"):
        assert got[0][name] == got[1][name]
    assert got[0]["gateway_requests_total"][0][1] == 2
    assert got[0]["gateway_connections"] == [({"worker": "0"}, 1), ({"worker": "1"}, 2)]


async def test_a_worker_without_a_heartbeat_is_down_and_only_its_counters_are_left(
    counters: list[SharedCounters],
) -> None:
    worker = Metrics(counters, 1)
    worker.watch(definitions.CONNECTIONS, lambda: 7)
    worker.request("orders", "allowed", 200)
    worker.publish()
    heartbeat = counters[1].heartbeat
    fresh = parsed(exposition(Snapshot(counters, heartbeat + STALE - 0.1))[0])
    stale = parsed(exposition(Snapshot(counters, heartbeat + STALE))[0])
    assert fresh["gateway_worker_up"] == [({"worker": "0"}, 0), ({"worker": "1"}, 1)]
    assert fresh["gateway_connections"] == [({"worker": "1"}, 7)]
    assert stale["gateway_worker_up"] == [({"worker": "0"}, 0), ({"worker": "1"}, 0)]
    assert "gateway_connections" not in stale
    assert stale["gateway_requests_total"] == fresh["gateway_requests_total"]


async def test_publishing_goes_on_until_cancelled(
    metrics: Metrics, counters: list[SharedCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PUBLISH_INTERVAL", 0.0)
    dropped: list[str] = []
    metrics.watch(definitions.LOG_LINES_DROPPED, dropped.__len__)
    keep = asyncio.create_task(metrics.keep_publishing())
    for _ in range(3):
        await asyncio.sleep(0)
    assert counters[0].heartbeat > 0
    dropped.extend("abcd")
    keep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keep
    assert counters[0].heartbeat == 0
    got = parsed(exposition(Snapshot(counters, 1e9))[0])
    assert got["gateway_log_lines_dropped_total"] == [({}, 4)]
    assert (await scraped(metrics))["gateway_event_loop_lag_seconds"][0][1] >= 0


async def test_cpu_time_is_counted(metrics: Metrics) -> None:
    first = (await scraped(metrics))["gateway_worker_cpu_seconds_total"][0][1]
    while (await scraped(metrics))["gateway_worker_cpu_seconds_total"][0][1] == first:
        pass


async def test_series_for_which_there_is_no_room_are_reported(metrics: Metrics, counters: list[SharedCounters]) -> None:
    number = 0
    while not counters[0].lost_series:
        metrics.request("x" * 100_000 + str(number), "allowed", 200)
        number += 1
    metrics.request("one more", "allowed", 200)
    assert (await scraped(metrics))["gateway_series_lost_total"][0][1] >= 1


@pytest.mark.parametrize(
    ("accept", "begins"),
    [
        ("", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=x", "text/plain"),
        ("text/plain;version=1.%s" % ("9" * 5_000), "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text"),
    ],
)
async def test_the_format_is_what_prometheus_asks_for(metrics: Metrics, accept: str, begins: str) -> None:
    metrics.request("orders", "allowed", 200)
    text, content_type = await metrics.scrape(accept)
    assert content_type.startswith(begins)
    assert text.endswith(b"# EOF\n") == ("openmetrics" in begins)


async def test_every_metric_is_described_even_before_it_has_a_value(metrics: Metrics) -> None:
    text = (await metrics.scrape())[0].decode()
    for metric in METRICS:
        assert f"# HELP {metric.name} " in text
        assert f"# TYPE {metric.name} {metric.type.value}\n" in text


def test_names_follow_the_conventions_of_prometheus() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) == len(definitions.BY_NAME)
    for metric in METRICS:
        assert metric.name.startswith("gateway_")
        assert metric.name.endswith("_total") == (metric.type is MetricType.COUNTER)
        assert len(metric.bounds) + 2 <= WIDEST
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert not set(metric.labels) & {"le", "job", "instance", "worker"}


@pytest.mark.needs("promtool")
def test_promtool_accepts_the_metrics(metrics: Metrics, counters: list[SharedCounters]) -> None:
    metrics.rules("r1", ["orders"], [USER])
    metrics.build("0.1.0", "3.13.0")
    metrics.rejected("too_many")
    metrics.upstream_took("default", 0.01)
    for metric in (
        definitions.REDIS_UP,
        definitions.FLEET,
        definitions.LOCAL_BUCKETS,
        definitions.OVERRIDES,
        definitions.CONNECTIONS,
    ):
        metrics.watch(metric, lambda: 1)
    metrics.publish()
    text, _ = exposition(Snapshot(counters, counters[0].heartbeat))
    done = subprocess.run(["promtool", "check", "metrics"], check=False, input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
