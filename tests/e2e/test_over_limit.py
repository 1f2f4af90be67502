"""`over: tell`, from the rule file to the upstream, with Redis and two workers."""

from pathlib import Path

import pytest

from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.wire import ask, get, says, upstream

pytestmark = pytest.mark.untraced

SETTINGS = """\
upstreams: {default: {urls: ["http://127.0.0.1:PORT"]}}
rules: rules.yaml
store: {url: "REDIS"}
workers: 2
identity:
  sources: [trusted_header: {header: X-User-Id}]
  trusted_proxies: [127.0.0.0/8]
"""
RULES = """\
limits:
  - {name: fair-use, per: user, rate: 1/day, burst: 2, over: tell}
  - {name: month, per: user, quota: 3/month, over: tell}
  - {name: hard, per: user, rate: 1/day, burst: 5}
"""
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Over-Limit: fair-use\r\nX-Over-Limit: month\r\n\r\nok"


async def test_the_upstream_alone_learns_which_limits_a_request_is_over(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    settings = tmp_path / "gateway.yaml"
    async with redis_server() as redis, upstream(says(RESPONSE)) as up:
        settings.write_text(SETTINGS.replace("PORT", str(up.port)).replace("REDIS", redis.url))
        async with gateway("--config", str(settings)) as (_, public, _control):
            sent = get("/", "X-User-Id: ana", "X-Over-Limit: made-up", "X_Over_Limit: made-up")
            answers = [await ask(public, sent) for _ in range(7)]
            assert [each.status for each in answers] == [200] * 5 + [429] * 2
            told = [request.all(b"X-Over-Limit") for request in up.requests]
            assert told == [[], [], [b"fair-use"], [b"fair-use, month"], [b"fair-use, month"]]
            assert not any(b"made-up" in request.raw_head for request in up.requests)
            assert not any(b"over-limit" in each.raw_head.lower() for each in answers)
            assert (await ask(public, get("/", "X-User-Id: bob"))).status == 200
            assert up.requests[-1].all(b"X-Over-Limit") == []
