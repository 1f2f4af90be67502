"""A schedule changes the rate by Redis' clock, whatever that of the machine says, and what was spent stays spent."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.set_clock import SetClock
from tests.waiting import eventually
from tests.wire import ask, get, upstream

pytestmark = pytest.mark.untraced

SETTINGS = """\
upstreams: {default: {urls: ["http://127.0.0.1:PORT"]}}
rules: rules.yaml
store: {url: "REDIS"}
workers: 1
identity:
  sources: [trusted_header: {header: X-User-Id}]
  trusted_proxies: [127.0.0.0/8]
"""
RULES = """\
limits:
  - name: each
    per: user
    rate: 1/day
    burst: 3
    schedule:
      - {during: [{from: "FROM", to: "TO"}], rate: 1/day, burst: 8}
"""


async def test_the_rate_changes_when_redis_clock_says_so(tmp_path: Path) -> None:
    now, clock = datetime.now(UTC), SetClock(tmp_path / "clock")
    begins, ends = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (1, 3))
    (tmp_path / "rules.yaml").write_text(RULES.replace("FROM", begins).replace("TO", ends))
    settings = tmp_path / "gateway.yaml"
    async with redis_server(environment=clock.environment) as redis, upstream() as up:
        settings.write_text(SETTINGS.replace("PORT", str(up.port)).replace("REDIS", redis.url))
        async with gateway("--config", str(settings)) as (_, public, _control):

            async def passes(user: str = "ana") -> bool:
                return (await ask(public, get("/", f"X-User-Id: {user}"))).status == 200

            assert [await passes() for _ in range(4)] == [True] * 3 + [False]
            clock.step("+2h")
            await eventually(passes)
            assert [await passes() for _ in range(5)] == [True] * 4 + [False]
            clock.step("+4h")

            async def is_narrow_again() -> bool:
                fresh = f"user-{next(numbers)}"
                return [await passes(fresh) for _ in range(4)] == [True] * 3 + [False]

            numbers = iter(range(1000))
            await eventually(is_narrow_again)
            assert not await passes()
