"""Conditions on endpoints, from the rule file to the metrics, with Redis and several workers, and across a reload."""

import signal
from pathlib import Path

from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.waiting import until
from tests.wire import ask, get, upstream

RULES = """
endpoints:
  - {name: mcp-light, methods: [POST], path: /mcp, headers: {Mcp-Method: [initialize, ping, tools/list]}}
  - {name: mcp, methods: [POST], path: /mcp}
  - {name: report, methods: [GET], path: "/reports/{id}"}
  - {name: export, methods: [GET], path: "/reports/{id}", query: {format: [csv, xlsx]}}
limits:
  - {name: calls, per: user, endpoints: [mcp], rate: 1/day, burst: 2}
  - {name: exports, per: user, endpoints: [export], rate: 1/day}
"""


async def test_tool_calls_and_exports_have_limits_of_their_own(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    call, listing, none = (
        get("/mcp", *fields, method="POST") for fields in (["Mcp-Method: tools/call"], ["MCP-METHOD: tools/list"], [])
    )
    csv, xlsx, json = (get(f"/reports/7?format={name}") for name in ("csv", "xlsx", "json"))
    twice = get("/reports/7?format=json&format=csv")
    async with redis_server() as redis, upstream() as up:
        arguments = ["--upstream", f"http://127.0.0.1:{up.port}", "--rules", str(rules), "--store", redis.url]
        async with gateway(*arguments, "--workers", "2") as (process, public, control):
            asked = [(await ask(public, request)).status for request in (call, none, call, none, listing, listing)]
            assert asked == [200, 200, 429, 429, 200, 200]
            asked = [(await ask(public, request)).status for request in (csv, xlsx, csv, json, json, twice)]
            assert asked == [200, 429, 429, 200, 200, 400]
            metrics = (await ask(control, get("/metrics"))).body.decode()
            assert 'gateway_bad_requests_total{reason="condition"} 1.0' in metrics
            assert 'gateway_requests_total{endpoint="export",outcome="refused",status="4xx"} 2.0' in metrics
            rules.write_text(RULES.replace("[csv, xlsx]", "[csv, xlsx, json]"))
            process.signal(signal.SIGHUP)
            await until(lambda: "rules_reloaded" in process.output)
            assert [(await ask(public, request)).status for request in (json, csv)] == [429, 429]
    assert len(up.requests) == 7
