"""Overrides, usage and reset of organizations and teams, by the attributes of callers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.control.audit.log_file import AuditLog
from gateway.limits.identity_source import TrustedHeader
from gateway.limits.limit import Missing
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from tests.control.overrides.test_api import BASE, READ, WRITE, override, put
from tests.control.running import ENDPOINTS, Running, limit, settings, worker
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import Message, ask, get, upstream

SOURCE = TrustedHeader("X-User-Id", "X-User-Tier", {"org": "X-Org", "team": "X-Team"})
LIMITS = (
    limit("org", 5, per=("org",), if_missing=Missing.SKIP, tiers={"gold": Quota(Rate(1, 86_400), 50)}),
    limit("team", 3, per=("org", "team", "endpoint"), if_missing=Missing.SHARED),
    limit("each", 9),
    limit("everyone", 99, per=()),
)


def made(up: int, state: Path, store: str | None = None) -> Any:
    plain = settings(up, store=store, control={"state": state})
    return replace(plain, identity=replace(plain.identity, sources=(SOURCE,)))


async def send(running: Running, user: str, org: str = "acme", team: str = "blue", *fields: str) -> int:
    who = [f"X-User-Id: {user}", *[f"X-Org: {org}"] * bool(org), *[f"X-Team: {team}"] * bool(team)]
    message: Message = await ask(running.public, get("/v1/orders/7", *who, *fields))
    return message.status


async def usage(running: Running, target: str) -> dict[tuple[str, str | None, bool], int]:
    answer = await running.call("GET", f"/api/v1/admin/usage/{target}", token=READ)
    assert answer.status == 200, answer
    return {(each["limit"], each["endpoint"], each["shared"]): each["remaining"] for each in answer.body["buckets"]}


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_an_organization_is_shown_given_more_refilled_and_blocked(shared: bool, tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        stored = made(up.port, tmp_path, redis.url if shared else None)
        async with worker(stored, Rules(ENDPOINTS, LIMITS, revision="cafe00000001")) as running:
            assert [await send(running, f"user-{each}") for each in range(4)] == [200, 200, 200, 429]  # the team's end
            assert [await send(running, "zoe", team="red") for _ in range(3)] == [200, 200, 429]  # acme's end
            assert await send(running, "zoe", org="initech") == 200
            assert await usage(running, "org/acme") == {("org", None, False): 0, ("everyone", None, True): 93}
            team = await usage(running, "team/blue/org/acme")
            assert team[("team", "order", False)] == 0
            assert ("org", None, False) not in team
            assert ("each", None, False) not in team
            assert await usage(running, "user-0") == {("each", None, False): 8, ("everyone", None, True): 93}

            raised = override("quota", rate="1/day", burst=20, limits=["org"])
            assert await put(running, "org/acme", raised) == 201
            assert (await usage(running, "org/acme"))[("org", None, False)] == 15
            assert await send(running, "zoe", team="red") == 200
            reset = await running.call("POST", "/api/v1/admin/reset/org/acme/team/blue", token=WRITE)
            assert reset.body == {"attributes": {"org": "acme", "team": "blue"}, "buckets": 3}  # one for each endpoint
            assert await send(running, "user-0") == 200

            assert await put(running, "org/acme", override("block")) == 200
            assert await send(running, "anybody", team="green") == 429
            assert await send(running, "anybody", org="initech") == 200
            assert await put(running, "org/acme", override("exempt")) == 200
            assert [await send(running, "user-1") for _ in range(4)] == [200] * 4
            assert (await running.call("DELETE", f"{BASE}/org/acme", token=WRITE)).status == 204
            assert (await running.call("GET", f"{BASE}/org/acme", token=READ)).status == 404
    lines = [each for each in AuditLog(tmp_path / "audit.jsonl").page(0, 100) if each["action"].startswith("override")]
    assert [each["action"] for each in lines] == ["override.set"] * 3 + ["override.removed"]
    assert all(each["target"].startswith("attributes ") and "acme" not in str(each) for each in lines)


async def test_a_tier_of_an_organization_counts_for_its_callers_and_theirs_comes_first(tmp_path: Path) -> None:
    async with upstream() as up, worker(made(up.port, tmp_path), Rules(ENDPOINTS, LIMITS)) as running:
        assert await put(running, "org/acme", override("tier", tier="gold")) == 201
        answers = [await send(running, f"user-{each}", team=f"team-{each}") for each in range(7)]
        assert answers == [200] * 7  # more than the five of other organizations
        assert (await usage(running, "org/acme"))[("org", None, False)] == 43  # of the 50 of that tier


async def test_an_organization_in_the_store_is_in_force_in_another_gateway(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        one, other = (made(up.port, tmp_path / name, redis.url) for name in ("one", "other"))
        rules = Rules(ENDPOINTS, LIMITS)
        async with worker(one, rules) as first, worker(other, rules) as second:
            assert await put(first, "org/a%2Fb%3D", override("block")) == 201

            async def is_known() -> bool:
                return (await second.call("GET", f"{BASE}/org/a%2Fb%3D", token=READ)).status == 200

            await eventually(is_known)
            assert await send(second, "ana", org="a/b=") == 429
            page = (await second.call("GET", BASE, token=READ)).body["overrides"]
            assert [each["attributes"] for each in page] == [{"org": "a/b="}]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("orgg/acme", "no identity source names the attribute orgg"),
        ("auth0/7", "no identity source names the attribute auth0"),
        ("org/acme/team", "the end of the path must be attributes"),
        ("org/acme/org/acme", "the end of the path must be attributes"),
        ("Org/acme", "the end of the path must be attributes"),
        ("org/" + "a" * 257, "must have values of 1 to 256 characters"),
    ],
)
async def test_a_target_that_nobody_can_be_is_refused(path: str, said: str, tmp_path: Path) -> None:
    async with worker(made(9, tmp_path), Rules(ENDPOINTS, LIMITS)) as running:
        for method, base in (("PUT", "overrides"), ("GET", "usage"), ("POST", "reset")):
            body = override("block") if method == "PUT" else None
            token = READ if method == "GET" else WRITE
            answer = await running.call(method, f"/api/v1/admin/{base}/{path}", body, token=token)
            assert answer.status == 400
            assert said in answer.body["detail"]


@pytest.mark.parametrize(
    ("target", "limits", "said"),
    [
        (
            "org/acme",
            ["team"],
            "is a limit per org and team and endpoint; change it with an override of org/.../team/...",
        ),
        ("ana", ["org"], "is a limit per org; change it with an override of org/..."),
        ("org/acme", ["each"], "is a limit per user; change it with an override of a user"),
    ],
)
async def test_a_limit_of_others_is_refused_with_whose_it_is(
    target: str, limits: list[str], said: str, tmp_path: Path
) -> None:
    async with worker(made(9, tmp_path), Rules(ENDPOINTS, LIMITS)) as running:
        body = override("quota", rate="1/day", burst=20, limits=limits)
        answer = await running.call("PUT", f"{BASE}/{target}", body, token=WRITE)
        assert answer.status == 400
        assert said in str(answer.body)


async def test_explain_says_which_attributes_a_caller_has_lacks_and_may_have(tmp_path: Path) -> None:
    async with worker(made(9, tmp_path), Rules(ENDPOINTS, LIMITS)) as running:

        async def explain(**more: Any) -> Any:
            question = {"request": "GET /v1/orders/7", "address": "127.0.0.1", **more}
            answer = await running.call("POST", "/api/v1/admin/explain", question, token=READ)
            assert answer.status == 200, answer
            return answer.body

        asked = await explain(user_id="ana")
        assert asked["left_out"] == ["org", "team"]
        known = await explain(user_id="ana", attributes={"org": "acme"})
        assert known["left_out"] == []
        assert known["caller"]["attributes"] == {"org": "acme"}
        found = {each["limit"]: (each["per"], each["shared"], each["missing"]) for each in known["buckets"]}
        assert found["org"] == (["org"], True, [])
        assert found["team"] == (["org", "team", "endpoint"], True, ["team"])
        assert found["everyone"] == (["all"], True, [])
        sent = await explain(headers=["X-User-Id: ana", "X-Org: acme", "X-Team: blue"])
        assert sent["caller"]["attributes"] == {"org": "acme", "team": "blue"}
        wrong = await running.call(
            "POST",
            "/api/v1/admin/explain",
            {"request": "GET /", "user_id": "a", "attributes": {"orgg": "x"}},
            token=READ,
        )
        assert wrong.status == 400
