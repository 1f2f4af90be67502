"""`POST /api/v1/admin/explain` says what becomes of a request now, as the proxy then has it, and takes nothing."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.auth.timestamps import format_timestamp, now
from gateway.limits.address import LOOPBACK
from gateway.limits.claimed_rate import ClaimedRate
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.identity_source import TrustedHeader
from gateway.limits.limit import Candidate
from gateway.limits.priority import Priority, Reserve
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.settings.identity import IdentityPolicy
from tests.auth.keys import token
from tests.control.fleet import fleet_member
from tests.control.running import DAY, Running, gateway, limit
from tests.kit.process import cli, run
from tests.redis.clusters import redis_cluster
from tests.redis_server import redis_server
from tests.wire import ask, get, upstream

READ, WRITE = token("limits:read"), token("limits:write")
ORDER = "GET /v1/orders/7"
TWO_LIMITS = """\
endpoints:
  - {name: order, methods: [GET], path: "/v1/orders/{id}"}
limits:
  - {name: each, per: user, rate: 1/day, burst: 3}
  - {name: all, per: endpoint, rate: 1/day, burst: 9}
"""


async def explained(running: Running, request: str = ORDER, **more: Any) -> Any:
    answer = await running.call("POST", "/api/v1/admin/explain", {"request": request, **more}, token=READ)
    assert answer.status == 200, answer
    return answer.body


async def asked(running: Running, *fields: str) -> int:
    return (await ask(running.public, get("/v1/orders/7", *fields))).status


def held(document: Any) -> dict[str, int]:
    return {each["limit"]: each["remaining"] for each in document["buckets"]}


async def test_what_each_bucket_holds_is_said_and_nothing_is_taken() -> None:
    limits = limit("each", 2), limit("all", 9, per=()), limit("trial", 1, enforce=False)
    async with (
        redis_server() as redis,
        upstream() as api,
        gateway(*limits, upstream=api.port, store=redis.url) as running,
    ):
        for _ in range(5):
            fresh = await explained(running, user_id="ana")
        assert (held(fresh), fresh["allowed"]) == ({"each": 2, "all": 9, "trial": 1}, True)
        assert [await asked(running, "X-User-Id: ana") for _ in range(3)] == [200, 200, 429]
        spent = await explained(running, user_id="ana")
        assert held(spent) == {"each": 0, "all": 7, "trial": 0}
        assert (spent["allowed"], spent["degraded"], spent["unavailable"]) == (False, False, False)
        wait = datetime.fromisoformat(spent["allowed_from"]) - datetime.now(UTC)
        assert timedelta(days=1) - timedelta(minutes=5) < wait <= timedelta(days=1, seconds=5)
        payable = {each["limit"]: each["payable_at"] for each in spent["buckets"]}
        assert payable["each"] == spent["allowed_from"] > payable["all"]
        # The same through the headers that the proxy reads.
        by_header = await explained(running, headers=["X-User-Id: ana"], address="127.0.0.1")
        assert by_header["caller"]["source"] == "trusted_header"
        assert by_header["caller"]["caller"] == spent["caller"]["caller"]
        assert held(by_header) == held(spent)
        assert (await explained(running, user_id="bob"))["allowed"]


async def test_a_cost_above_the_burst_never_passes() -> None:
    async with gateway(limit("each", 4)) as running:
        document = await explained(running, "POST /v1/orders", user_id="ana")
    assert (document["allowed"], document["allowed_from"]) == (False, None)
    assert (document["buckets"][0]["payable"], document["buckets"][0]["payable_at"]) == (False, None)


@pytest.mark.parametrize(
    ("daily", "unusable", "rate", "burst"),
    [("8", None, "8/day", 8), ("3.5", "invalid", "1/day", 1), ("10", "above_most", "9/day", 9),
     (None, "missing", "1/day", 1)],
)  # fmt: skip
async def test_a_callers_own_rate_is_shown_or_why_there_is_none(
    daily: str | None, unusable: str | None, rate: str, burst: int
) -> None:
    claiming = limit(
        "each", 1, from_claim=ClaimedRate("daily", Rate(9, DAY)), candidate=Candidate(Quota(Rate(2, DAY), 2))
    )
    identity = IdentityPolicy((TrustedHeader("X-User-Id", attributes={"daily": "X-Daily"}),), LOOPBACK)
    async with gateway(claiming, limit("plain", 5), identity=identity) as running:
        headers = ["X-User-Id: ana"] + ([] if daily is None else [f"X-Daily: {daily}"])
        document = await explained(running, headers=headers, address="127.0.0.1")
    shown = {each["limit"]: (each["rate"], each["burst"], each["from_claim"]) for each in document["buckets"]}
    assert shown == {
        "each": (rate, burst, {"attribute": "daily", "unusable": unusable}),
        "each (candidate)": ("2/day", 2, None),
        "plain": ("1/day", 5, None),
    }


@pytest.mark.parametrize(
    ("override", "allowed", "found"),
    [
        ({"effect": "quota", "rate": "9/day", "burst": 9}, True, {"each": 9}),
        ({"effect": "tier", "tier": "gold"}, True, {"each": 8}),
        ({"effect": "exempt"}, True, {}),
        ({"effect": "block"}, False, {}),
    ],
)
async def test_an_override_applies_and_is_shown_with_its_reason_and_end(
    tmp_path: Path, override: dict[str, Any], allowed: bool, found: dict[str, int]
) -> None:
    gold = limit("each", 4, tiers={"gold": Quota(Rate(1, DAY), 8)})
    async with gateway(gold, control={"state": tmp_path}) as running:
        body = {**override, "reason": "sale", "expires_at": format_timestamp(now() + 3_600_000_000)}
        put = await running.call("PUT", "/api/v1/admin/overrides/ana", body, token=WRITE)
        assert put.status in {200, 201}, put
        document = await explained(running, user_id="ana")
        assert (document["allowed"], held(document)) == (allowed, found)
        (shown,) = document["overrides"]
        assert (shown["effect"], shown["reason"], shown["expires_at"]) == (
            override["effect"], "sale", body["expires_at"]
        )  # fmt: skip
        assert document["blocked"] is (override["effect"] == "block")


async def test_a_user_is_explained_in_the_tier_seen_last_unless_another_is_given(tmp_path: Path) -> None:
    gold = limit("each", 4, tiers={"gold": Quota(Rate(1, DAY), 8), "silver": Quota(Rate(1, DAY), 6)})
    async with upstream() as api, gateway(gold, upstream=api.port, control={"state": tmp_path}) as running:
        assert await asked(running, "X-User-Id: ana", "X-User-Tier: gold") == 200
        assert held(await explained(running, user_id="ana")) == {"each": 7}
        assert (await explained(running, user_id="ana", tier="silver"))["caller"]["tier"] == "silver"


async def test_without_redis_it_says_so() -> None:
    async with redis_server() as redis, gateway(limit("each", 4, outage="refuse"), store=redis.url) as running:
        redis.kill()
        document = await explained(running, user_id="ana")
        assert (document["allowed"], document["unavailable"], document["allowed_from"]) == (False, True, None)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/request"),
        ({"request": "/v1/orders/7"}, "#/request"),
        ({"request": "GET /a b"}, "#/request"),
        ({"request": "get /"}, "#/request"),
        ({"request": "GET /", "headers": ["X-Plan"]}, "#/headers"),
        ({"request": "GET /", "headers": ["X-Plan: a\r\nX-User-Id: root"]}, "#/request"),
        ({"request": "GET /", "token": "a\r\nX-User-Id: root"}, "#/request"),
        ({"request": "GET /\ud800"}, "#/request"),
        ({"request": "GET /", "address": "10.0.0.0/8"}, "#/address"),
        ({"request": "GET /", "tier": "gold"}, "#/tier"),
        ({"request": "GET /", "certificate": "nonsense"}, "#/certificate"),
        ({"request": "GET /", "certificate": ""}, "#/certificate"),
        (
            {"request": "GET /", "certificate": "-----BEGIN CERTIFICATE-----\né\n-----END CERTIFICATE-----\n"},
            "#/certificate",
        ),
        ({"request": "GET /", "usr": "ana"}, "#/usr"),
    ],
)
async def test_a_body_that_is_no_question_is_rejected(body: dict[str, Any], pointer: str) -> None:
    async with gateway(limit("each", 4)) as running:
        answer = await running.call("POST", "/api/v1/admin/explain", body, token=READ)
    assert answer.status == 400, answer
    found = [each["pointer"] for each in answer.body.get("errors", ())]
    assert found == [pointer] or "strict JSON" in answer.body["detail"], answer.body


async def test_a_question_may_have_a_client_certificate() -> None:
    async with gateway(limit("each", 4)) as running:
        document = await explained(running, certificate=trustme.CA().cert_pem.bytes().decode())
    assert document["caller"]["source"] == "client_address", "no source asks for one"


async def test_it_needs_the_scope_to_read_limits() -> None:
    async with gateway(limit("each", 4)) as running:
        for given, status in ((None, 401), (token("check"), 403)):
            answer = await running.call("POST", "/api/v1/admin/explain", {"request": ORDER}, token=given)
            assert answer.status == status


@pytest.mark.parametrize("cluster", [False, True], ids=["redis", "cluster"])
@pytest.mark.untraced
async def test_what_one_gateway_took_is_held_against_the_caller_by_every_worker_of_the_other(
    cluster: bool, tmp_path: Path
) -> None:
    """Two gateways of two workers each; on a cluster, the buckets of a request may be on different nodes."""
    async with AsyncExitStack() as stack:
        if cluster:
            url = (await stack.enter_async_context(redis_cluster()))[0].url
        else:
            url = (await stack.enter_async_context(redis_server())).url
        first, second = [
            await stack.enter_async_context(
                fleet_member(tmp_path / name, 9, url, workers=2, rules=TWO_LIMITS, cluster=cluster)
            )
            for name in "ab"
        ]

        async def said(left: int, total: int) -> None:
            """Both gateways, on enough connections for all workers, and the command say what is left."""
            documents = await asyncio.gather(*(explained(each, user_id="ana") for each in [first, second] * 12))
            assert {tuple(held(each).values()) for each in documents} == {(left, total)}
            assert {each["allowed"] for each in documents} == {left > 0}
            for each in (first, second):
                flags = ("--config", each.folder / "gateway.yaml", "--url", f"http://127.0.0.1:{each.control}")
                code, output = await run(*cli("explain", "--running", ORDER, "--user", "ana", "--json", *flags))
                assert code == 0, output
                assert held(json.loads(output)) == {"each": left, "all": total}

        await said(3, 9)
        assert (await first.check("ana", "order"))["allowed"]
        assert (await first.check("bob", "order", 2))["allowed"]
        await said(2, 6)
        assert (await second.check("ana", "order", 2))["allowed"]
        await said(0, 4)
        # Nothing was taken by asking: the rest is there to be spent.
        assert (await first.check("bob", "order"))["allowed"]
        assert not (await first.check("bob", "order"))["allowed"]


async def test_what_is_kept_for_others_is_said() -> None:
    export = Endpoint("export", Template.parse("/export"), priority=Priority.LOW)
    async with gateway(limit("each", 10, reserve=Reserve(0.2, 0.5)), endpoints=[export]) as running:
        await running.check("ana", "export", 5)
        for request, priority, reserve, left in (("/export", "low", "50%", 0), ("/other", "normal", "20%", 3)):
            document = await explained(running, f"GET {request}", user_id="ana")
            (bucket,) = document["buckets"]
            assert (document["priority"], bucket["reserve"], bucket["remaining"]) == (priority, reserve, left)
            assert document["allowed"] is bool(left)
        usage = await running.call("GET", "/api/v1/admin/usage/ana", token=READ)
        assert [each["remaining"] for each in usage.body["buckets"]] == [3]
