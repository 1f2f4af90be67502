"""Organizations and teams, from the tokens' claims to the operator's commands, with two workers and without Redis."""

import json
from pathlib import Path

from tests.auth.keys import pair
from tests.e2e.test_identity import token
from tests.e2e.test_operating import operated
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import ask, get

MORE = """
store: {{url: '{url}', deadline: 5s}}
workers: 2
"""
SOURCE = "jwt: {attributes: {org: org.id, team: team}, keys: [{kid: k, algorithm: HS256, secret_file: secret}]}"
RULES = """
endpoints: [{name: orders, path: /orders}]
limits:
  - {name: org, endpoints: [orders], per: org, if_missing: skip, rate: 1/day, burst: 6}
  - {name: team, per: [org, team], if_missing: refuse, rate: 1/day, burst: 4}
  - {name: each, per: user, rate: 1/day, burst: 3}
"""


async def test_a_team_and_its_organization_are_limited_shown_and_given_more(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(pair().verifying)
    async with (
        redis_server() as redis,
        operated(tmp_path, more=MORE.format(url=redis.url), rules=RULES, sources=SOURCE) as running,
    ):

        async def send(user: str, org: str | None, team: str = "blue") -> int:
            claims = {"sub": user, "team": team, **({"org": {"id": org}} if org else {})}
            return (await ask(running.public, get("/orders", f"Authorization: Bearer {token(**claims)}"))).status

        assert [await send(f"user-{each}", "acme") for each in range(5)] == [200] * 4 + [429]
        assert [await send("zoe", "acme", "red") for _ in range(3)] == [200, 200, 429]
        assert await send("zoe", None) == 429  # refused, as the rules say of whoever has no organization
        assert await send("zoe", "initech") == 200
        said = await running.says("usage", "org/acme/team/blue")
        assert "team  0 of 4 left" in said
        more = ("--rate", "20/day", "--limit", "org", "--for", "1h", "--reason", "a launch")
        assert (await running.says("override", "set", "org/acme", *more)).startswith("org/acme  20/day burst 20")

        async def has_more() -> bool:
            return await send("ben", "acme", "green") == 200

        await eventually(has_more)
        said = await running.says("explain", "GET /orders", "--running", "--user", "ana", "--attribute", "org=acme")
        assert "the caller has no team" in said

        async def is_listed() -> bool:
            listed = json.loads(await running.says("override", "list", "--json"))["overrides"]
            return [each["attributes"] for each in listed] == [{"org": "acme"}]

        await eventually(is_listed)
        redis.kill()
        assert [await send("new", "umbrella", "blue") for _ in range(2)] == [200, 200]
        assert await send("new", None) == 429
