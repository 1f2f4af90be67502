"""What is reported to `Events` appears in the metrics and in the log."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.bucket import Decision
from gateway.limits.caller import Caller
from gateway.limits.claimed_rate import Unusable, UnusableClaim
from gateway.limits.measured_cost import Measurement, Unmeasured
from gateway.limits.rejection import Rejection
from gateway.settings.log import LogPolicy
from gateway.telemetry.access_record import AccessRecord
from gateway.telemetry.events import Events
from gateway.telemetry.log import Log, open_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.shared_memory import SharedCounters


class Output:
    """A log in a file, and metrics."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
        self.log: Log = open_log(self._descriptor, policy=LogPolicy(format="json"))
        self.metrics = Metrics([SharedCounters()])

    async def lines(self) -> list[dict[str, Any]]:
        """All that was logged; closes the log."""
        await self.log.close()
        return [json.loads(line) for line in self._file.read_text().splitlines()]

    async def samples(self, name: str) -> list[str]:
        text = (await self.metrics.scrape())[0].decode()
        return [line for line in text.splitlines() if line.startswith(name + "{") and not line.endswith(" 0.0")]

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    made = Output(tmp_path / "log")
    yield made
    made.close()


async def test_an_unexpected_error_is_counted_and_logged_without_its_message(output: Output) -> None:
    events = Events(output.log, output.metrics, access_log=0.0)
    try:
        raise ValueError("holds a user id")  # noqa: TRY301
    except ValueError as error:
        events.failed("7f-1", 500, error)
    (line,) = await output.lines()
    assert (line["event"], line["level"], line["error"], line["status"]) == (
        "request_failed",
        "error",
        "ValueError",
        500,
    )
    assert line["trace"][-1].startswith("telemetry/test_events.py:")
    assert "user id" not in str(line)
    assert await output.samples("gateway_requests_total") == [
        'gateway_requests_total{endpoint="",outcome="failed",status="5xx"} 1.0'
    ]


async def test_a_bypass_is_counted_at_each_limit(output: Output) -> None:
    events = Events(output.log, output.metrics, access_log=0.0)
    events.bypassed("orders", ["a", "b"])
    events.bypassed("orders", ["b"])
    assert await output.samples("gateway_limit_decisions_total") == [
        'gateway_limit_decisions_total{endpoint="orders",limit="a",mode="normal",outcome="bypassed"} 1.0',
        'gateway_limit_decisions_total{endpoint="orders",limit="b",mode="normal",outcome="bypassed"} 2.0',
    ]
    assert await output.lines() == []


async def test_what_identifies_nobody_is_counted_and_a_sample_is_logged(output: Output) -> None:
    now = 0.0
    events = Events(output.log, output.metrics, access_log=0.0, clock=lambda: now)
    expired = Rejection("jwt", "expired", "the token has expired")
    for instant in (0.0, 1.0, 59.0, 60.0, 119.0):
        now = instant
        events.identity_rejected(expired)
    events.identity_rejected(Rejection("api_key", "unknown_key", "the key in X-Api-Key is unknown"))
    assert sorted(await output.samples("gateway_identity_rejected_total")) == [
        'gateway_identity_rejected_total{reason="expired",source="jwt"} 5.0',
        'gateway_identity_rejected_total{reason="unknown_key",source="api_key"} 1.0',
    ]
    lines = [
        (line["level"], line["source"], line["reason"], line["why"], line["unlogged"]) for line in await output.lines()
    ]
    assert lines == [
        ("warning", "jwt", "expired", "the token has expired", 0),
        ("warning", "jwt", "expired", "the token has expired", 2),
        ("warning", "api_key", "unknown_key", "the key in X-Api-Key is unknown", 0),
    ]


async def test_a_claim_without_a_usable_rate_is_counted_and_a_sample_is_logged(output: Output) -> None:
    now = 0.0
    events = Events(output.log, output.metrics, access_log=0.0, clock=lambda: now)
    for instant in (0.0, 1.0, 60.0):
        now = instant
        events.claims_unusable([UnusableClaim("plan", "rpm", Unusable.MISSING)])
    events.claims_unusable([UnusableClaim(name, "rpm", Unusable.ABOVE_MOST) for name in ("plan", "other")])
    assert sorted(await output.samples("gateway_claims_unusable_total")) == [
        'gateway_claims_unusable_total{limit="other",reason="above_most"} 1.0',
        'gateway_claims_unusable_total{limit="plan",reason="above_most"} 1.0',
        'gateway_claims_unusable_total{limit="plan",reason="missing"} 3.0',
    ]
    lines = [(line["limit"], line["attribute"], line["reason"], line["unlogged"]) for line in await output.lines()]
    assert lines == [
        ("plan", "rpm", "missing", 0),
        ("plan", "rpm", "missing", 1),
        ("plan", "rpm", "above_most", 0),
        ("other", "rpm", "above_most", 0),
    ]


async def test_measured_costs_are_counted_and_a_sample_of_those_that_cannot_be_read_is_logged(output: Output) -> None:
    now, spent = 0.0, []
    events = Events(
        output.log, output.metrics, access_log=0.0, clock=lambda: now,
        count_cost=lambda endpoint, _caller, _demands, refused, cost: spent.append((endpoint, refused, cost)),
    )  # fmt: skip
    caller, verdict = Caller("ana", b"d", source="jwt"), Verdict(Outcome.ALLOWED, False, Decision(True, 0, (0,), (0,)))
    for instant, measured in (
        (0.0, Measurement(20, 7)),
        (0.0, Measurement(20, 20, Unmeasured.MISSING)),
        (1.0, Measurement(20, 20, Unmeasured.MISSING)),
        (60.0, Measurement(20, 20, Unmeasured.MISSING)),
        (60.0, Measurement(20, 50, Unmeasured.ABOVE_MOST)),
    ):
        now = instant
        events.measured("answer", caller, [], verdict, measured)
    events.settlements_lost(3)
    samples = [await output.samples(f"gateway_cost_{name}_total") for name in ("estimated", "measured", "unmeasured")]
    assert samples == [
        ['gateway_cost_estimated_total{endpoint="answer"} 100.0'],
        ['gateway_cost_measured_total{endpoint="answer"} 117.0'],
        ['gateway_cost_unmeasured_total{endpoint="answer",reason="above_most"} 1.0',
         'gateway_cost_unmeasured_total{endpoint="answer",reason="missing"} 3.0'],
    ]  # fmt: skip
    assert "gateway_settlements_lost_total 3.0" in (await output.metrics.scrape())[0].decode()
    assert spent == [("answer", (0,), cost) for cost in (7, 20, 20, 20, 50)]
    lines = [(line["event"], line["reason"], line["cost"], line["unlogged"]) for line in await output.lines()]
    assert lines == [
        ("cost_unmeasured", "missing", 20, 0),
        ("cost_unmeasured", "missing", 20, 1),
        ("cost_unmeasured", "above_most", 50, 0),
    ]


async def test_a_peer_that_is_not_trusted_is_logged_once_with_what_to_set(output: Output) -> None:
    now = 0.0
    events = Events(output.log, output.metrics, access_log=0.0, clock=lambda: now)
    for instant in (0.0, 1.0, 86_400.0):
        now = instant
        events.identity_rejected(Rejection("x_forwarded_for", "untrusted_peer", "it came from a stranger"))
    assert await output.samples("gateway_identity_rejected_total") == [
        'gateway_identity_rejected_total{reason="untrusted_peer",source="x_forwarded_for"} 3.0'
    ]
    (line,) = await output.lines()
    assert (line["event"], line["level"], line["why"]) == ("proxy_not_trusted", "warning", "it came from a stranger")
    assert "identity.trusted_proxies" in line["fix"]


async def test_a_loop_is_counted_each_time_and_logged_once_a_minute(output: Output) -> None:
    now = 0.0
    events = Events(output.log, output.metrics, access_log=0.0, clock=lambda: now)
    for instant in (0.0, 1.0, 2.0, 61.0):
        now = instant
        events.loop_detected("1.1 edge, 1.1 " + "x" * 1_000)
    assert await output.samples("gateway_connections_rejected_total") == [
        'gateway_connections_rejected_total{cause="loop"} 4.0'
    ]
    first, second = await output.lines()
    assert (first["event"], first["level"], first["unlogged"], second["unlogged"]) == ("loop_detected", "error", 0, 2)
    assert first["via"].startswith("1.1 edge, 1.1 xxx")
    assert len(first["via"]) == 256


async def test_a_dropped_header_is_logged_once_and_names_that_clients_invent_do_not_fill_the_log(
    output: Output,
) -> None:
    events = Events(output.log, output.metrics, access_log=0.0)
    for name in ("X_Api_Version", "x_api_version", *(f"x_{number}" for number in range(1_000)), "X_Api_Version"):
        events.header_dropped(name)
    lines = await output.lines()
    assert [line["name"] for line in lines[:2]] == ["X_Api_Version", "x_0"]
    assert len(lines) == 32
    assert (lines[0]["event"], lines[0]["level"]) == ("header_dropped", "warning")
    assert "hyphens" in lines[0]["fix"]


@pytest.mark.parametrize(("share", "lines"), [(1.0, 1000), (0.0, 0), (0.25, 250), (0.01, 10), (0.999, 999)])
async def test_the_access_log_has_its_share_of_all_requests(output: Output, share: float, lines: int) -> None:
    events = Events(output.log, output.metrics, access_log=share)
    for _ in range(1000):
        events.served(AccessRecord("7f-1", "orders", "GET", b"0f", Outcome.REFUSED, 429, 0.001))
    assert abs(len(await output.lines()) - lines) <= 1
    assert await output.samples("gateway_requests_total") == [
        'gateway_requests_total{endpoint="orders",outcome="refused",status="4xx"} 1000.0'
    ]


async def test_a_name_whose_old_addresses_are_used_is_logged(output: Output) -> None:
    events = Events(output.log, output.metrics, access_log=0.0)
    events.name_unresolved("billing.internal", "billing.internal was not looked up: timeout")
    (line,) = await output.lines()
    assert (line["event"], line["level"], line["name"]) == ("name_unresolved", "warning", "billing.internal")
    assert line["why"].endswith("timeout")


async def test_why_an_upstream_cannot_be_reached_is_logged(output: Output) -> None:
    events = Events(output.log, output.metrics, access_log=0.0)
    events.upstream_unreachable(
        "billing", "certificate", "https://10.0.0.1:8443 cannot be reached: certificate verify failed"
    )
    (line,) = await output.lines()
    assert (line["event"], line["level"], line["upstream"]) == ("upstream_unreachable", "error", "billing")
    assert line["why"].endswith("certificate verify failed")


async def test_a_server_that_is_left_out_and_is_back_is_logged(output: Output) -> None:
    events = Events(output.log, output.metrics, access_log=0.0)
    events.server_left_out("app", "http://10.0.0.1:80", "reset", "the upstream closed the connection")
    events.server_back("app", "http://10.0.0.1:80", 5.0004)
    left_out, back = await output.lines()
    assert (left_out["event"], left_out["level"], left_out["reason"]) == ("server_left_out", "error", "reset")
    assert (back["event"], back["level"], back["left_out_seconds"]) == ("server_back", "info", 5.0)
    assert left_out["address"] == back["address"] == "http://10.0.0.1:80"
