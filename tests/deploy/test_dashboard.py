"""The queries of Grafana's dashboard and of the alerts, held against what a gateway really exports."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.limits.limit import Limit
from gateway.limits.measured_cost import Measurement, Unmeasured
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.telemetry import definitions
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.shared_memory import SharedCounters
from tests.kit.process import ROOT, gateway, run
from tests.wire import ask, get, upstream

DOCKER = ROOT / "docker"
DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana" / "dashboards" / "gateway.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = [
    rule["expr"]
    for group in yaml.safe_load((DOCKER / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"]]

NAME = re.compile(r"\bgateway_\w+")
SELECTOR = re.compile(r"(gateway_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"by \(([^)]*)\)")
FROM_PROMETHEUS = {"job", "instance"}

USER = Limit("user", per=("user",), quota=Quota(Rate(1, 1), 1))

Exported = dict[str, set[str]]


def exported_by(text: str) -> Exported:
    """By name of a series: the labels that it has."""
    found: Exported = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.fixture
async def exported() -> Exported:
    """What a worker exports that has seen everything once."""
    metrics = Metrics([SharedCounters()], 0)
    metrics.build("0.1.0", "3.13.0")
    metrics.rules("r1", ["orders"], [USER])
    metrics.certificates({"tls/edge.pem": 1.0})
    metrics.jwks("https://login.example/keys", 1.0, 2.0)
    metrics.request_took("orders", 0.01)
    metrics.upstream_took("default", 0.01)
    metrics.rejected("slow_head")
    metrics.bad_request("slow_head")
    metrics.upstream_failed("default", "closed")
    metrics.claim_unusable("plan", "missing")
    metrics.watch_each(definitions.LIMIT_IN_FLIGHT, lambda: {"at-once": 1.0})
    metrics.measured("orders", Measurement(5, 5, Unmeasured.MISSING))
    for family in definitions.METRICS:
        if not family.labels and family.type is not definitions.MetricType.HISTOGRAM:
            metrics.watch(family, lambda: 1)
    return exported_by((await metrics.scrape())[0].decode())


@pytest.mark.parametrize("query", [*QUERIES, *ALERTS, *VARIABLES])
def test_a_query_names_what_is_exported(query: str, exported: Exported) -> None:
    names = set(NAME.findall(query))
    assert names <= exported.keys()
    labels = set().union(*(exported[name] for name in names)) | FROM_PROMETHEUS
    for name, matchers in SELECTOR.findall(query):
        assert set(re.findall(r"(\w+)\s*[=!]~?", matchers)) <= exported[name] | FROM_PROMETHEUS
    for group in GROUPED.findall(query):
        assert set(re.split(r",\s*", group)) <= labels


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for query in QUERIES for name in NAME.findall(query)}
    assert shown == set(definitions.BY_NAME)


def test_a_legend_names_labels_that_its_query_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = {label for group in GROUPED.findall(target["expr"]) for label in re.split(r",\s*", group)}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept


def test_every_panel_asks_the_provisioned_source_and_no_two_overlap() -> None:
    provisioned = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    (source,) = provisioned["datasources"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {source["uid"]}
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    assert source["url"].removeprefix("http://").split(":")[0] in compose["services"]
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.needs("promtool")
async def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    # As rules, for these promtool can check; with what Grafana puts in place of its variables.
    plain = [re.sub(r"\$(instance|endpoint|limit)", ".*", query).replace("$__rate_interval", "1m") for query in QUERIES]
    rules = [{"record": f"query:{number}", "expr": expression} for number, expression in enumerate(plain)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, said = await run("promtool", "check", "rules", file)
    assert code == 0, said
    assert f"{len(QUERIES)} rules found" in said


async def test_a_running_gateway_exports_what_is_looked_at_first() -> None:
    async with upstream() as up, gateway("--upstream", f"http://127.0.0.1:{up.port}") as (_, public, control):
        await ask(public, get("/"))
        exported = exported_by((await ask(control, get("/metrics"))).body.decode())
    assert {
        "gateway_requests_total",
        "gateway_worker_up",
        "gateway_build_info",
        "gateway_connections",
    } <= exported.keys()
