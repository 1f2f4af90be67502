"""A candidate and a share of the callers, from the rule file to the metrics and the report, with Redis and a reload."""

import json
import signal
from pathlib import Path

from tests.kit.process import cli, gateway, run
from tests.redis_server import redis_server
from tests.waiting import until
from tests.wire import ask, get, upstream

SETTINGS = """\
upstreams: {default: {urls: ["http://127.0.0.1:PORT"]}}
rules: rules.yaml
store: {url: "REDIS"}
workers: 2
analytics: {folder: analytics}
identity:
  sources: [trusted_header: {header: X-User-Id}]
  trusted_proxies: [127.0.0.0/8]
"""
RULES = """\
limits:
  - {name: everyone, per: user, rate: 1/day, burst: 5, candidate: {rate: 1/day, burst: 2}}
"""


async def test_a_candidate_counts_beside_its_limit_and_a_share_refuses_the_same_callers_always(tmp_path: Path) -> None:
    rules, settings = tmp_path / "rules.yaml", tmp_path / "gateway.yaml"
    rules.write_text(RULES)
    asks = {user: get("/", f"X-User-Id: {user}") for user in ("ana", *(f"u{number}" for number in range(40)))}
    async with redis_server() as redis, upstream() as up:
        settings.write_text(SETTINGS.replace("PORT", str(up.port)).replace("REDIS", redis.url))
        async with gateway("--config", str(settings)) as (process, public, control):
            assert [(await ask(public, asks["ana"])).status for _ in range(7)] == [200] * 5 + [429] * 2
            metrics = (await ask(control, get("/metrics"))).body.decode()
            counted = (
                'gateway_limit_decisions_total{endpoint="default",limit="everyone%s",mode="normal",outcome="%s"} %s'
            )
            for series in (
                ("", "refused", "2.0"),
                (" (candidate)", "allowed", "2.0"),
                (" (candidate)", "shadow_refused", "5.0"),
            ):
                assert counted % series in metrics
            assert 'gateway_limit_burst_tokens{limit="everyone (candidate)",tier=""} 2.0' in metrics
            rules.write_text(RULES.replace("candidate: {rate: 1/day, burst: 2}", "enforce: 50%"))
            process.signal(signal.SIGHUP)
            await until(lambda: "rules_reloaded" in process.output)
            refused = set()
            for user, request in asks.items():
                statuses = [(await ask(public, request)).status for _ in range(6 if user != "ana" else 1)]
                refused |= {user} & ({user} if statuses[-1] == 429 else set())
            assert 5 < len(refused) < 35
            rules.write_text(RULES.replace("candidate: {rate: 1/day, burst: 2}", "enforce: 90%"))
            process.signal(signal.SIGHUP)
            await until(lambda: process.output.count("rules_reloaded") == 2)
            more = {user for user, request in asks.items() if (await ask(public, request)).status == 429}
            assert refused < more
            process.signal(signal.SIGTERM)
            await process.ends()
        status, printed = await run(*cli("report", "--config", settings, "--json"))
    assert status == 0
    found = json.loads(printed)["candidates"]
    assert sum(each["candidate_would_refuse"] for each in found) == 5
    assert sum(each["refused"] for each in found) >= 2
