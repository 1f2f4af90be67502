"""What a limit keeps for a checkout is there for it: from the rule file to the 429, with Redis."""

from pathlib import Path

import pytest

from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.wire import ask, get, upstream

pytestmark = pytest.mark.untraced

SETTINGS = """\
upstreams: {default: {urls: ["http://127.0.0.1:PORT"]}}
rules: rules.yaml
store: {url: "REDIS"}
workers: 2
identity:
  sources: [trusted_header: {header: X-User-Id, tier_header: X-Plan}]
  trusted_proxies: [127.0.0.0/8]
"""
RULES = """\
endpoints:
  - {name: checkout, path: /checkout, priority: high}
  - {name: export, path: /export, priority: low}
tiers:
  gold: {priority: high}
limits:
  - {name: total, per: endpoint, endpoints: [default], rate: 1/day, burst: 5, reserve: {normal: 40%}}
  - {name: account, per: user, rate: 1/day, burst: 10, reserve: {normal: 20%, low: 50%}}
"""


async def test_exports_are_refused_before_checkouts_and_plain_callers_before_gold_ones(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    settings = tmp_path / "gateway.yaml"
    async with redis_server() as redis, upstream() as up:
        settings.write_text(SETTINGS.replace("PORT", str(up.port)).replace("REDIS", redis.url))
        async with gateway("--config", str(settings)) as (_, public, _control):

            async def statuses(path: str, times: int, *headers: str) -> list[int]:
                return [(await ask(public, get(path, *headers))).status for _ in range(times)]

            ana, gold = "X-User-Id: ana", ("X-User-Id: ben", "X-Plan: gold")
            assert await statuses("/export", 6, ana) == [200] * 5 + [429]
            assert await statuses("/checkout", 6, ana) == [200] * 5 + [429]
            assert await statuses("/", 4, "X-User-Id: eve") == [200] * 3 + [429]
            assert await statuses("/", 3, *gold) == [200] * 2 + [429]
            assert await statuses("/export", 4, *gold) == [200] * 3 + [429]
