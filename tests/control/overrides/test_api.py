"""Overrides: what they change, for whom, how soon, for how long, and what becomes of them without Redis."""

import asyncio
import itertools
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from redis.asyncio import Redis

from gateway.auth.timestamps import format_timestamp
from gateway.control.audit.chain import verify_chain
from gateway.control.audit.log_file import AuditLog
from gateway.limits.calendar import MONTH, Calendar, CalendarRate
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from tests.auth.keys import token
from tests.control.fleet import fleet_member
from tests.control.running import Running, gateway, limit
from tests.redis_server import redis_server
from tests.waiting import eventually, within
from tests.wire import ask, get, upstream

BASE = "/api/v1/admin/overrides"
WRITE = token("limits:write")
READ = token("limits:read")


def soon(seconds: float = 600) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def override(effect: str, **more: Any) -> dict[str, Any]:
    return {"effect": effect, "reason": "a test", "expires_at": soon(), **more}


async def put(running: Running, user: str, body: Any) -> int:
    return (await running.call("PUT", f"{BASE}/{user}", body, token=WRITE)).status


def actions(state: Path) -> list[str]:
    log = AuditLog(state / "audit.jsonl")
    assert verify_chain(log.lines()) is not None
    return [each["action"] for each in log.page(0, 1000)]


async def test_rate_and_burst_are_changed_and_what_was_spent_stays_spent(tmp_path: Path) -> None:
    async with gateway(limit("each", 10), limit("all", 100, per=()), control={"state": tmp_path}) as running:
        assert (await running.check("alice", "order", 4))["remaining"] == 6
        assert await put(running, "alice", override("quota", rate="1/day", burst=5)) == 201
        assert (await running.check("alice", "order", 0))["remaining"] == 1
        assert (await running.check("bob", "order", 0))["remaining"] == 10
        assert await put(running, "alice", override("quota", rate="1/day", burst=50)) == 200
        assert (await running.check("alice", "order", 0))["remaining"] == 46
        assert (await running.call("DELETE", f"{BASE}/alice", token=WRITE)).status == 204
        assert (await running.check("alice", "order", 0))["remaining"] == 6
    assert actions(tmp_path) == ["override.set", "override.set", "override.removed"]


def monthly(tokens: int) -> Limit:
    calendar = Calendar(MONTH, ZoneInfo("Europe/Berlin"), 15)
    return Limit("monthly", ("user",), Quota.each_period(CalendarRate(tokens, calendar)))


async def test_a_calendar_quota_is_changed_by_another_per_month_and_a_rate_by_a_rate(tmp_path: Path) -> None:
    async with gateway(limit("each", 10), monthly(100), control={"state": tmp_path}) as running:
        end = monthly(1).quota.full_at(0, time.time_ns() // 1000)

        async def quotas() -> Any:
            usage = await running.call("GET", "/api/v1/admin/usage/alice", token=READ)
            return [(each.get("rate"), each.get("quota"), each["remaining"]) for each in usage.body["buckets"]]

        assert (await running.check("alice", "order", 4))["remaining"] == 6
        assert await quotas() == [("1/day", None, 6), (None, "100/month", 96)]
        answer = await running.call("PUT", f"{BASE}/alice", override("quota", quota="5/month"), token=WRITE)
        assert (answer.status, answer.body["quota"]) == (201, "5/month")
        assert await quotas() == [("1/day", None, 6), (None, "5/month", 1)]
        checked = await running.check("alice", "order", 1)
        assert (checked["remaining"], checked["reset_at"]) == (0, format_timestamp(end))
        assert not (await running.check("alice", "order", 1))["allowed"]
        assert await put(running, "alice", override("quota", rate="1/day", burst=50)) == 200
        assert await quotas() == [("1/day", None, 45), (None, "100/month", 95)]
        usage = await running.call("GET", "/api/v1/admin/usage/alice", token=READ)
        assert usage.body["buckets"][1].items() >= {
            "limit": "monthly", "zone": "Europe/Berlin", "from_day": 15, "reset_at": format_timestamp(end)
        }.items()  # fmt: skip
        explained = await running.call(
            "POST", "/api/v1/admin/explain", {"request": "GET /v1/orders/7", "user_id": "alice"}, token=READ
        )
        assert explained.body["buckets"][1]["quota"] == "100/month"


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        ({"quota": "5/month", "limits": ["each"]}, "#/limits", "each has another form; change it with rate and burst"),
        (
            {"rate": "1/s", "burst": 5, "limits": ["monthly"]},
            "#/limits",
            "monthly has another form; change it with quota, as in 100/month",
        ),
        ({"quota": "5/day"}, "#/effect", "has no effect: no such limit"),
        ({"quota": "5/hour"}, "#/quota", "'5/hour' is not a quota; write tokens/day"),
        ({"quota": "0/day"}, "#/quota", "a quota is 1 to"),
        ({"quota": "5/month", "burst": 5}, "#/burst", "is for limits of another form"),
        ({"quota": "5/month", "zone": "UTC"}, "#/zone", "unknown member"),
    ],
)
async def test_an_override_of_another_form_than_the_limit_is_refused(
    change: dict[str, Any], pointer: str, detail: str, tmp_path: Path
) -> None:
    async with gateway(limit("each", 10), monthly(100), control={"state": tmp_path}) as running:
        answer = await running.call("PUT", f"{BASE}/alice", override("quota", **change), token=WRITE)
    (error,) = answer.body["errors"]
    assert (answer.status, error["pointer"], error["detail"][: len(detail)]) == (400, pointer, detail)


async def test_a_block_refuses_on_the_proxy_too_and_charges_nobody(tmp_path: Path) -> None:
    total = limit("total", 10, per=())
    async with upstream() as api, gateway(total, upstream=api.port, control={"state": tmp_path}) as running:
        assert await put(running, "alice", override("block", endpoints=["order"])) == 201
        for _ in range(3):
            assert (await ask(running.public, get("/v1/orders/7", "X-User-Id: alice"))).status == 429
        answer = await running.check("alice", "order", 0)
        assert (answer["allowed"], answer["remaining"]) == (False, 0)
        assert (await ask(running.public, get("/elsewhere", "X-User-Id: alice"))).status == 200
        assert (await ask(running.public, get("/v1/orders/7", "X-User-Id: bob"))).status == 200
        assert (await running.check("carol", "order", 0))["remaining"] == 8


async def test_an_exemption_and_a_tier(tmp_path: Path) -> None:
    each = limit("each", 1, tiers={"gold": Quota(Rate(1, 86_400), 20)})
    async with gateway(each, control={"state": tmp_path}) as running:
        assert await put(running, "alice", override("exempt")) == 201
        assert (await running.check("alice", "order", 1000))["allowed"]
        assert await put(running, "alice", override("tier", tier="gold")) == 200
        assert (await running.check("alice", "order", 0))["remaining"] == 20


async def test_named_limits_and_endpoints_only(tmp_path: Path) -> None:
    async with gateway(limit("a", 10), limit("b", 10), control={"state": tmp_path}) as running:
        body = override("quota", rate="1/day", burst=3, limits=["a"], endpoints=["order"])
        assert await put(running, "alice", body) == 201
        assert (await running.check("alice", "order", 0))["remaining"] == 3
        assert (await running.check("alice", "create", 0))["remaining"] == 10
        usage = (await running.call("GET", "/api/v1/admin/usage/alice", token=READ)).body
    assert {bucket["limit"] for bucket in usage["buckets"]} == {"a", "b"}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"reason": None}, "#/reason"),
    ({"reason": ""}, "#/reason"),
    ({"expires_at": "tomorrow"}, "#/expires_at"),
    ({"expires_at": "2030-01-01"}, "#/expires_at"),
    ({"expires_at": "2030-01-01T00:00:00"}, "#/expires_at"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "#/expires_at"),
    ({"expires_at": "9999-01-01T00:00:00Z"}, "#/expires_at"),
    ({"effect": "all"}, "#/effect"),
    ({"effect": ["block"]}, "#/effect"),
    ({"effect": "tier"}, "#/tier"),
    ({"effect": "tier", "tier": "lead"}, "#/tier"),
    ({"effect": "quota", "burst": 5}, "#/rate"),
    ({"effect": "quota", "rate": "1/s"}, "#/burst"),
    ({"effect": "quota", "rate": "fast", "burst": 5}, "#/rate"),
    ({"effect": "quota", "rate": "1/s", "burst": 0}, "#/burst"),
    ({"effect": "quota", "rate": "1/s", "burst": 5, "limits": ["nope"]}, "#/limits"),
    ({"effect": "quota", "rate": "1/s", "burst": 5, "limits": ["shared"]}, "#/limits"),
    ({"endpoints": ["nope"]}, "#/endpoints"),
    ({"endpoints": []}, "#/endpoints"),
    ({"endpoints": ["order", "order"]}, "#/endpoints"),
    ({"endpoints": "order"}, "#/endpoints"),
    ({"rate": "1/s"}, "#/rate"),
    ({"user": "bob"}, "#/user"),
]


async def test_an_invalid_override_is_refused_with_all_errors_and_changes_nothing(tmp_path: Path) -> None:
    shared = limit("shared", 5, per=())
    async with gateway(limit("each", 5), shared, control={"state": tmp_path}) as running:
        for change, said in BAD:
            body = override("block") | change
            answer = await running.call(
                "PUT", f"{BASE}/alice", {k: v for k, v in body.items() if v is not None}, token=WRITE
            )
            assert (answer.status, answer.type) == (400, "application/problem+json"), change
            assert said in {error["pointer"] for error in answer.body["errors"]}, (change, answer.body)
        assert (await running.call("GET", f"{BASE}/alice", token=READ)).status == 404
    assert not (tmp_path / "overrides.json").exists()


@pytest.mark.parametrize(
    ("per", "user", "said"),
    [
        ((), "ana", "total is one limit for all callers, which no override changes"),
        (("endpoint",), "ana", "total is a limit per endpoint, shared by all callers, which no override changes"),
        (("endpoint",), "address/192.0.2.1", "total is a limit per endpoint, shared by all callers"),
        (("address",), "ana", "total is a limit per address; change it with an override of an address"),
        (("address", "endpoint"), "ana", "total is a limit per address and endpoint; change it with an override of an"),
    ],
)
async def test_a_limit_that_an_override_cannot_change_is_named_as_what_it_is(
    per: tuple[str, ...], user: str, said: str, tmp_path: Path
) -> None:
    async with gateway(limit("each", 5), limit("total", 5, per=per), control={"state": tmp_path}) as running:
        body = override("quota", rate="1/s", burst=5, limits=["each", "total"])
        answer = await running.call("PUT", f"{BASE}/{user}", body, token=WRITE)
    (error,) = answer.body["errors"]
    assert (answer.status, error["pointer"], error["detail"][: len(said)]) == (400, "#/limits", said)


async def test_overrides_are_listed_in_pages(tmp_path: Path) -> None:
    users = ["alice", "bob", "c d", "d/e", "\u00e9"]
    async with gateway(control={"state": tmp_path}) as running:
        for user in ("%C3%A9", "d%2Fe", "bob", "c%20d", "alice"):
            assert await put(running, user, override("exempt")) == 201
        seen: list[str] = []
        query = "limit=2"
        while query:
            page = (await running.call("GET", f"{BASE}?{query}", token=READ)).body
            seen += [each["user"] for each in page["overrides"]]
            query = f"limit=2&after={page['next'].replace(' ', '%20')}" if page["next"] else ""
        shown = (await running.call("GET", f"{BASE}/d%2Fe", token=READ)).body
    assert seen == users
    assert (shown["effect"], shown["reason"], shown["set_by"]) == ("exempt", "a test", "ana")


async def test_who_may_read_may_not_write(tmp_path: Path) -> None:
    async with gateway(control={"state": tmp_path}) as running:
        assert (await running.call("PUT", f"{BASE}/alice", override("block"), token=READ)).status == 403
        assert (await running.call("DELETE", f"{BASE}/alice", token=READ)).status == 403
        assert (await running.call("POST", "/api/v1/admin/reset/alice", token=READ)).status == 403
        assert (await running.call("GET", f"{BASE}/alice", token=WRITE)).status == 403
    assert actions(tmp_path) == ["refused"] * 4


async def test_without_a_folder_nothing_can_be_changed() -> None:
    async with gateway(limit("each", 5)) as running:
        answer = await running.call("PUT", f"{BASE}/alice", override("block"), token=WRITE)
        assert (answer.status, "audit log" in answer.body["detail"]) == (503, True)
        assert (await running.call("POST", "/api/v1/admin/reset/alice", token=WRITE)).status == 503
        assert (await running.check("alice", "order"))["allowed"]


async def test_what_cannot_be_audited_does_not_happen(tmp_path: Path) -> None:
    plane = {"state": tmp_path}
    async with redis_server() as redis, gateway(limit("each", 5), store=redis.url, control=plane) as running:
        (tmp_path / "audit.jsonl").mkdir()
        assert await put(running, "alice", override("block")) == 503
        await running.check("alice", "order", 5)
        assert (await running.call("POST", "/api/v1/admin/reset/alice", token=WRITE)).status == 503
        assert (await running.check("alice", "order", 0))["remaining"] == 0
        assert (await running.call("GET", f"{BASE}/alice", token=READ)).status == 404


async def test_with_the_memory_store_overrides_live_in_a_file(tmp_path: Path) -> None:
    async with gateway(limit("each", 5), control={"state": tmp_path}) as running:
        assert await put(running, "alice", override("block")) == 201
    assert (tmp_path / "overrides.json").stat().st_mode & 0o077 == 0
    async with gateway(limit("each", 5), control={"state": tmp_path}) as running:
        assert not (await running.check("alice", "order"))["allowed"]


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_an_override_ends_when_it_expires_and_that_is_audited_once(tmp_path: Path, shared: bool) -> None:
    async with redis_server() as redis:
        store = redis.url if shared else None
        states = [tmp_path / "a", tmp_path / "b"] if shared else [tmp_path / "a"]
        async with AsyncExitStack() as stack:
            members = [
                await stack.enter_async_context(gateway(limit("each", 5), store=store, control={"state": state}))
                for state in states
            ]
            end = datetime.now(UTC)

            async def is_set() -> bool:
                """On a machine that is held up for three seconds it takes another try."""
                nonlocal end
                end = datetime.now(UTC) + timedelta(seconds=3)
                return await put(members[0], "alice", override("block", expires_at=end.isoformat())) == 201

            await eventually(is_set)

            def told() -> list[str]:
                return [action for state in states if (state / "audit.jsonl").exists() for action in actions(state)]

            async def is_free() -> bool:
                free = (await members[-1].check("alice", "order", 0))["allowed"]
                return bool(free) and "override.expired" in told()

            async def is_gone() -> bool:
                return (await members[0].call("GET", f"{BASE}/alice", token=READ)).status == 404

            await eventually(is_free)
            assert datetime.now(UTC) >= end
            await eventually(is_gone)
    assert told().count("override.expired") == 1


async def test_an_unreadable_override_keeps_no_other_from_being_in_force(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plane = {"state": tmp_path}
    async with redis_server() as redis, gateway(limit("each", 5), store=redis.url, control=plane) as running:
        assert await put(running, "alice", override("block")) == 201
        async with Redis(port=redis.port, protocol=2, decode_responses=True) as client:
            (alice,) = [
                str(name) for name in await client.hkeys("gateway:overrides") if len(str(name)) == len("f" * 32)
            ]
            await client.hset("gateway:overrides", mapping={alice: '{"effect":"yet unknown"}', "f" * 32: "{"})
            await client.hincrby("gateway:overrides", "generation", 1)
        assert await put(running, "bob", override("block")) == 201
        for user in ("alice", "bob"):
            assert not (await running.check(user, "order"))["allowed"]
        assert await put(running, "alice", override("exempt")) == 200
        assert (await running.check("alice", "order"))["allowed"]
    told = [line for line in capfd.readouterr().err.splitlines() if "override_unreadable" in line]
    assert any(alice in line for line in told)


async def test_a_write_without_redis_is_refused_and_what_is_known_stays(tmp_path: Path) -> None:
    plane = {"state": tmp_path}
    async with redis_server() as redis, gateway(limit("each", 5), store=redis.url, control=plane) as running:
        assert await put(running, "alice", override("block")) == 201
        redis.kill()
        assert await put(running, "bob", override("block")) == 503
        assert (await running.call("DELETE", f"{BASE}/alice", token=WRITE)).status == 503
        assert not (await running.check("alice", "order"))["allowed"]
        assert (await running.check("bob", "order"))["allowed"]
        # It comes back with nothing: what is known is kept again.
        await redis.start()

        async def works() -> bool:
            return await put(running, "bob", override("block")) in {200, 201}

        await eventually(works)
        assert not (await running.check("alice", "order"))["allowed"]
        found = (await running.call("GET", BASE, token=READ)).body["overrides"]
        assert [each["user"] for each in found] == ["alice", "bob"]


async def test_in_force_in_every_worker_of_every_gateway_within_a_second_and_after_a_restart(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as api:
        async with (
            fleet_member(tmp_path / "a", api.port, redis.url, workers=2) as first,
            fleet_member(tmp_path / "b", api.port, redis.url, workers=2) as second,
        ):
            members = (first, second)

            async def statuses(user: str) -> set[int]:
                """Of many connections to each gateway, so that every worker is asked."""
                asked = [
                    ask(each.public, get("/v1/orders/7", f"X-User-Id: {user}")) for each in members for _ in range(16)
                ]
                return {answer.status for answer in await asyncio.gather(*asked)}

            async def is_exempt(user: str) -> bool:
                return await statuses(user) == {200}

            users = (f"user{number}" for number in itertools.count())

            async def exempt(told: Running) -> None:
                user = next(users)
                assert await put(told, user, override("exempt")) == 201
                await eventually(partial(is_exempt, user))

            assert 429 in await statuses("user0")
            for told in members:
                await within(2.0, partial(exempt, told))  # a second, and the questions themselves
        async with fleet_member(tmp_path / "a", api.port, redis.url, workers=2, rules=None) as first:
            members = (first, first)
            assert await statuses("user0") == {200}


async def test_usage_shows_each_bucket_and_reset_refills_it_everywhere(tmp_path: Path) -> None:
    limits = (limit("each", 5), limit("own", 3, per=("user", "endpoint")), limit("all", 99, per=()))
    async with redis_server() as redis:
        one, two = ({"state": tmp_path / name} for name in "ab")
        async with (
            gateway(*limits, store=redis.url, control=one) as first,
            gateway(*limits, store=redis.url, control=two) as second,
        ):
            for running in (first, second):
                while (await running.check("alice", "order"))["allowed"]:
                    pass
            usage = (await first.call("GET", "/api/v1/admin/usage/alice", token=READ)).body
            left = {(bucket["limit"], bucket["endpoint"]): bucket["remaining"] for bucket in usage["buckets"]}
            assert left == {
                ("each", None): 2,
                ("own", "order"): 0,
                ("own", "create"): 3,
                ("own", "default"): 3,
                ("all", None): 96,
            }
            assert (usage["user"], usage["tier"], usage["degraded"]) == ("alice", None, False)
            assert [bucket["limit"] for bucket in usage["buckets"] if bucket["shared"]] == ["all"]
            assert (await first.call("POST", "/api/v1/admin/reset/alice", token=WRITE)).body["buckets"] == 4

            async def is_refilled() -> bool:
                return bool((await second.check("alice", "order", 0))["remaining"] == 3) and bool(
                    (await second.check("alice", "order", 1))["allowed"]
                )

            await eventually(is_refilled)
    assert actions(tmp_path / "a") == ["reset"]


async def test_a_user_id_is_in_no_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with gateway(limit("each", 5), control={"state": tmp_path}) as running:
        assert await put(running, "alice-the-secret", override("block")) == 201
        await running.call("POST", "/api/v1/admin/reset/alice-the-secret", token=WRITE)
        await running.call("GET", "/api/v1/admin/usage/alice-the-secret")
        await running.call("DELETE", f"{BASE}/alice-the-secret", token=WRITE)
    assert "alice-the-secret" not in (tmp_path / "audit.jsonl").read_text()
    assert "alice-the-secret" not in capfd.readouterr().err


async def test_a_kill_during_200_changes_loses_none_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    few = asyncio.Semaphore(20)  # at a time, so that the last are still to come when the hundredth is acknowledged
    async with upstream() as api:
        async with fleet_member(tmp_path, api.port) as running:

            async def change(number: int) -> None:
                body = override("exempt", reason=f"change {number}")
                try:
                    async with few:
                        if await put(running, f"user{number}", body) == 201:
                            acknowledged.append(number)
                            if len(acknowledged) == 100:
                                running.process.kill()
                except (ConnectionError, asyncio.IncompleteReadError):
                    return

            await asyncio.gather(*map(change, range(200)))
            await running.process.ends()
        assert 100 <= len(acknowledged) < 200
        async with fleet_member(tmp_path, api.port) as running:
            assert await put(running, "after", override("exempt")) == 201
            page = (await running.call("GET", f"{BASE}?limit=1000", token=READ)).body
        log = AuditLog(tmp_path / "state" / "audit.jsonl")
        assert verify_chain(log.lines()) is not None
        reasons = {each["reason"] for each in log.page(0, 1000)}
    assert {f"change {number}" for number in acknowledged} <= reasons
    assert {f"user{number}" for number in acknowledged} <= {each["user"] for each in page["overrides"]}


async def test_the_last_change_in_the_audit_log_is_in_force(tmp_path: Path) -> None:
    """Two admins set and remove the same override at once, through two workers of one gateway."""
    async with (
        redis_server() as redis,
        upstream() as api,
        fleet_member(tmp_path, api.port, redis.url, workers=2) as running,
    ):

        async def admin(number: int) -> None:
            for turn in range(50):
                if turn % 10 == 9:
                    removed = await running.call("DELETE", f"{BASE}/alice", token=WRITE)
                    assert removed.status in {204, 404}
                else:
                    body = override("quota", rate="1/day", burst=1 + 100 * number + turn)
                    assert await put(running, "alice", body) in {200, 201}

        await asyncio.gather(*map(admin, range(4)))
        log = AuditLog(tmp_path / "state" / "audit.jsonl")
        assert verify_chain(log.lines()) is not None
        last = [each for each in log.page(0, 1000) if each["action"].startswith("override.")][-1]

        async def agree() -> bool:
            page = (await running.call("GET", f"{BASE}?limit=10", token=READ)).body["overrides"]
            bursts = [each["burst"] for each in page]
            wanted = [] if last["action"] == "override.removed" else [last["after"]["burst"]]
            return bool(bursts == wanted)

        await eventually(agree)
