"""check-limit: the proxy's own decision, and what is said to a question that is put badly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.limits.condition import QUERY, Condition
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.holder import Prefixes
from gateway.limits.identity_source import TrustedHeader
from gateway.limits.limit import Exemption, Limit, Missing, Over
from gateway.limits.priority import Priority, Reserve
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from tests.auth.keys import token
from tests.control.running import CHECK, ENDPOINTS, Running, gateway, limit, settings, worker
from tests.redis_server import redis_server
from tests.set_clock import off_by
from tests.wire import ask, get, upstream

PATH = "/api/v1/check-limit"
GOOD = {"user_id": "alice", "endpoint": "order", "weight": 1}


async def test_a_decision_is_always_a_200_and_exactly_three_members() -> None:
    async with gateway(limit("each", 2)) as running:
        answers = [await running.call("POST", PATH, GOOD, token=CHECK) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [(answer.body["allowed"], answer.body["remaining"]) for answer in answers] == [
        (True, 1), (True, 0), (False, 0),
    ]  # fmt: skip
    assert all(set(answer.body) == {"allowed", "remaining", "reset_at"} for answer in answers)
    assert {answer.type for answer in answers} == {"application/json"}


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_a_service_and_the_proxy_share_one_budget(shared: bool) -> None:
    async with redis_server() as redis, upstream() as api:
        store = redis.url if shared else None
        async with gateway(limit("each", 3), upstream=api.port, store=store) as running:
            assert (await ask(running.public, get("/v1/orders/7", "X-User-Id: alice"))).status == 200
            assert (await running.check("alice", "order"))["remaining"] == 1
            assert (await running.check("alice", "GET /v1/orders/7"))["remaining"] == 0
            assert (await ask(running.public, get("/v1/orders/7", "X-User-Id: alice"))).status == 429
            assert (await ask(running.public, get("/v1/orders/7", "X-User-Id: bob"))).status == 200


async def test_a_request_belongs_to_the_endpoint_that_its_query_decides() -> None:
    export = Endpoint("export", Template.parse("/report"), query=(Condition(QUERY, "format", frozenset({"csv"})),))
    async with gateway(limit("each", 9, per=("user", "endpoint")), endpoints=[export]) as running:
        assert (await running.check("alice", "GET /report?format=csv"))["remaining"] == 8
        assert (await running.check("alice", "GET /report?format=json", 5))["remaining"] == 4
        assert (await running.check("alice", "export", 0))["remaining"] == 8
        twice = GOOD | {"endpoint": "GET /report?format=csv&format=json"}
        assert (await running.call("POST", PATH, twice, token=CHECK)).status == 400


async def test_weight_is_what_is_taken_and_0_looks_without_touching() -> None:
    async with gateway(limit("each", 10)) as running:
        looks = [(await running.check("alice", "create", 0))["remaining"] for _ in range(3)]
        assert looks == [10, 10, 10]
        assert (await running.check("alice", "create", 7))["remaining"] == 3
        refused = await running.check("alice", "create", 4)
        assert (refused["allowed"], refused["remaining"]) == (False, 3)
        assert (await running.check("alice", "create", 0))["allowed"]


async def test_more_than_the_burst_is_never_allowed() -> None:
    async with gateway(limit("each", 10)) as running:
        for weight in (11, 1_000_000_000):
            answer = await running.check("alice", "order", weight)
            assert (answer["allowed"], answer["remaining"]) == (False, 10)


async def test_the_tightest_bucket_is_shown_and_shadow_limits_are_not() -> None:
    limits = (limit("wide", 100), limit("narrow", 5), limit("shadow", 1, enforce=False))
    async with gateway(*limits) as running:
        assert (await running.check("alice", "order", 2))["remaining"] == 3


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_over_a_limit_that_tells_a_request_is_allowed_and_only_limits_that_refuse_are_shown(shared: bool) -> None:
    limits = (limit("soft", 2, over=Over.TELL), limit("hard", 5))
    async with redis_server() as redis, upstream() as api:
        store = redis.url if shared else None
        async with gateway(*limits, upstream=api.port, store=store) as running:
            answers = [await running.check("alice", "order") for _ in range(6)]
            assert [(each["allowed"], each["remaining"]) for each in answers] == [
                (True, 4), (True, 3), (True, 2), (True, 1), (True, 0), (False, 0),
            ]  # fmt: skip
            assert (await running.check("bob", "order", 3))["allowed"]  # more than the limit that tells ever holds
            assert (await ask(running.public, get("/v1/orders/7", "X-User-Id: bob"))).status == 200
            assert api.requests[-1].all(b"x-over-limit") == []  # what could not be paid was not charged
            assert (await running.check("bob", "order"))["allowed"]
            assert (await running.check("bob", "order", 0))["remaining"] == 0
        async with gateway(limits[0], store=store) as running:
            assert (await running.check("cleo", "order", 7)).items() >= {
                "allowed": True,
                "remaining": 1_000_000_000,
            }.items()


async def test_reset_is_when_the_tightest_bucket_is_full_again_by_the_clock_of_redis() -> None:
    # Redis lives two days ahead of us: what is told has to be its time.
    async with (
        redis_server(environment=off_by("+2d")) as redis,
        gateway(limit("each", 10, 1, 60), store=redis.url) as running,
    ):
        answer = await running.check("alice", "order", 3)
    reset = datetime.fromisoformat(answer["reset_at"])
    assert answer["reset_at"].endswith("Z")
    ahead = reset - datetime.now(UTC) - timedelta(days=2, seconds=180)
    assert abs(ahead) < timedelta(seconds=20)


async def test_what_nothing_limits_is_allowed_and_all_of_it_remains() -> None:
    async with gateway(limit("each", 1, endpoints=frozenset({"create"}))) as running:
        answer = await running.check("alice", "order", 1000)
    assert (answer["allowed"], answer["remaining"]) == (True, 1_000_000_000)


async def test_a_limit_that_refuses_without_redis_refuses_and_is_not_an_error() -> None:
    async with redis_server() as redis, gateway(limit("each", 10, outage="refuse"), store=redis.url) as running:
        assert (await running.check("alice", "order"))["allowed"]
        redis.kill()
        answer = await running.check("alice", "order")
    assert (answer["allowed"], answer["remaining"]) == (False, 0)


async def test_a_thousand_at_once_take_exactly_what_there_is() -> None:
    async with redis_server() as redis, gateway(limit("each", 100), store=redis.url) as running:
        answers = await asyncio.gather(*(running.check("alice", "order") for _ in range(200)))
    assert sum(answer["allowed"] for answer in answers) == 100


async def test_a_trusted_network_needs_no_token() -> None:
    async with gateway(control={"check_from": (ip_network("127.0.0.0/8"),)}) as running:
        assert (await running.call("POST", PATH, GOOD)).status == 200
    async with gateway(control={"check_from": (ip_network("10.0.0.0/8"),)}) as running:
        assert (await running.call("POST", PATH, GOOD, fields=["X-Forwarded-For: 10.0.0.1"])).status == 401


async def test_without_admin_keys_no_token_is_good() -> None:
    async with gateway(control={"admin": None}) as running:
        assert (await running.call("POST", PATH, GOOD, token=CHECK)).status == 401


async def test_a_token_needs_the_scope_check() -> None:
    async with gateway() as running:
        answer = await running.call("POST", PATH, GOOD, token=token("limits:write reload bypass"))
    assert (answer.status, answer.body) == (
        403,
        {"title": "Forbidden", "status": 403, "detail": "this needs a token with the scope check"},
    )


async def test_an_unknown_endpoint_is_named() -> None:
    async with gateway() as running:
        answer = await running.call("POST", PATH, GOOD | {"endpoint": "nowhere"}, token=CHECK)
    (error,) = answer.body["errors"]
    assert (answer.status, error["pointer"]) == (400, "#/endpoint")
    assert error["detail"].startswith('no endpoint in the rules has the name "nowhere"; write')


BAD: list[tuple[Any, int, str]] = [
    ({}, 400, "#/user_id"),
    (GOOD | {"user_id": None}, 400, "#/user_id"),
    (GOOD | {"user_id": ""}, 400, "#/user_id"),
    (GOOD | {"user_id": 7}, 400, "#/user_id"),
    (GOOD | {"user_id": ["alice"]}, 400, "#/user_id"),
    (GOOD | {"user_id": "x" * 257}, 400, "#/user_id"),
    (GOOD | {"endpoint": "nowhere"}, 400, "#/endpoint"),
    (GOOD | {"endpoint": "GET orders"}, 400, "#/endpoint"),
    (GOOD | {"endpoint": "get /v1/orders/7"}, 400, "#/endpoint"),
    (GOOD | {"endpoint": "GET /v1/%2e%2e/orders"}, 400, "#/endpoint"),
    (GOOD | {"endpoint": "GET /v1/orders/7 HTTP/1.1"}, 400, "#/endpoint"),
    (GOOD | {"endpoint": "GET /v1/\u00e9"}, 400, "#/endpoint"),
    (GOOD | {"weight": -1}, 400, "#/weight"),
    (GOOD | {"weight": 1_000_000_001}, 400, "#/weight"),
    (GOOD | {"weight": 10**30}, 400, "#/weight"),
    (GOOD | {"weight": 1.5}, 400, "#/weight"),
    (GOOD | {"weight": "1"}, 400, "#/weight"),
    (GOOD | {"weight": True}, 400, "#/weight"),
    (GOOD | {"weight": None}, 400, "#/weight"),
    (GOOD | {"dry": True}, 400, "#/dry"),
    ([], 400, "object"),
    ("alice", 400, "object"),
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b'{"user_id": "alice", "endpoint": "order", "weight": NaN}', 400, "NaN"),
    (b'{"user_id": "alice", "endpoint": "order", "weight": -Infinity}', 400, "NaN"),
    (b'{"user_id": "alice", "endpoint": "order", "weight": 1e999}', 400, "too large"),
    (b'{"user_id": "alice", "endpoint": "order", "weight": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    (b'{"user_id": "alice", "user_id": "bob", "endpoint": "order", "weight": 1}', 400, "same name"),
    (b'{"user_id": "\\ud800", "endpoint": "order", "weight": 1}', 400, "surrogate"),
    (b'{"user_id": "\xff", "endpoint": "order", "weight": 1}', 400, "UTF-8"),
    (b'{"user_id": "\xc0\xaf", "endpoint": "order", "weight": 1}', 400, "UTF-8"),
    (b"\xef\xbb\xbf{}", 400, "not JSON"),
    (b"[" * 60_000, 400, "not JSON"),
    (b" " * (2 << 20), 413, "larger than 65536 bytes"),
]


@pytest.mark.parametrize(("body", "status", "said"), BAD)
async def test_an_invalid_check_is_refused_with_what_is_wrong(body: Any, status: int, said: str) -> None:
    async with gateway(limit("secret-limit", 7)) as running:
        answer = await running.call("POST", PATH, body, token=CHECK)
        by_aiohttp = await running.call("POST", PATH, body, token=CHECK, fields=["Connection: close"])
        assert (await running.check("alice", "order", 0))["remaining"] == 7
    assert (by_aiohttp.status, by_aiohttp.type, by_aiohttp.body) == (answer.status, answer.type, answer.body)
    assert (answer.status, answer.type) == (status, "application/problem+json")
    assert answer.body["status"] == status
    assert said in answer.message.body.decode()
    assert "secret-limit" not in answer.message.body.decode()


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Type: text/plain"],
        ["Content-Type: application/x-www-form-urlencoded"],
        ["Content-Type: application/json; charset=latin-1"],
        ["Content-Type:"],
        ["Content-Encoding: gzip"],
        ["Content-Encoding: br"],
    ],
)
async def test_a_body_that_is_not_plain_json_is_not_read(fields: list[str]) -> None:
    async with gateway(limit("each", 7)) as running:
        answer = await running.call("POST", PATH, GOOD, token=CHECK, fields=fields)
    assert (answer.status, answer.type) == (415, "application/problem+json")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", PATH, 405), ("POST", PATH + "/", 404), ("GET", "/", 404), ("GET", "/api/v1/admin", 404)],
)
async def test_an_unknown_path_is_a_problem_too(method: str, path: str, status: int) -> None:
    async with gateway() as running:
        answer = await running.call(method, path, token=CHECK)
    assert (answer.status, answer.type) == (status, "application/problem+json")
    assert answer.message.all(b"Allow") == ([b"POST"] if status == 405 else [])


async def test_nothing_of_the_control_plane_is_on_the_public_port() -> None:
    async with upstream() as api, gateway(upstream=api.port) as running:
        answer = await ask(running.public, get(PATH, f"Authorization: Bearer {CHECK}"))
        assert answer.body == b"ok"
        assert api.requests[-1].start == f"GET {PATH} HTTP/1.1".encode()


async def test_limits_per_address_apply_only_to_a_client_who_is_asked_about_by_address() -> None:
    async with gateway(limit("place", 1, per=("address",)), limit("each", 2)) as running:
        assert [(await running.check("alice", "order"))["remaining"] for _ in range(3)] == [1, 0, 0]
        asked = [await running.check(f"address/{text}", "order") for text in ("2001:db8::1", "2001:db8::2")]
        assert [(each["allowed"], each["remaining"]) for each in asked] == [(True, 0), (False, 0)]
        question = {**GOOD, "user_id": "address/198.51.100.0/24"}
        answer = await running.call("POST", PATH, question, token=CHECK)
        assert answer.status == 400
        assert answer.body["errors"] == [
            {"pointer": "#/user_id", "detail": "must be one address, as in address/198.51.100.7"}
        ]


async def test_what_is_kept_for_others_is_kept_from_the_endpoint_that_is_named() -> None:
    export = Endpoint("export", Template.parse("/export"), priority=Priority.LOW)
    async with gateway(limit("each", 10, reserve=Reserve(0.2, 0.5)), endpoints=[export]) as running:
        assert (await running.check("alice", "export", 0))["remaining"] == 5
        assert (await running.check("alice", "export", 5))["allowed"]
        assert not (await running.check("alice", "export", 1))["allowed"]
        assert (await running.check("alice", "export", 0))["allowed"]
        assert (await running.check("alice", "default", 1))["remaining"] == 2


VOUCHING = token("check check:caller")
ORG = limit("org", 4, per=("org",), if_missing=Missing.SKIP)


@asynccontextmanager
async def knowing(*limits: Limit, store: str | None = None) -> AsyncIterator[Running]:
    """A gateway that knows organizations."""
    source = TrustedHeader("X-User-Id", "X-User-Tier", {"org": "X-Org"})
    made = settings(store=store)
    made = replace(made, identity=replace(made.identity, sources=(source,)))
    async with worker(made, Rules(ENDPOINTS, limits)) as running:
        yield running


async def ask_for(running: Running, bearer: str = VOUCHING, **question: Any) -> Any:
    return await running.call("POST", PATH, question, token=bearer)


async def test_what_a_service_says_of_a_caller_counts_as_what_the_proxy_finds() -> None:
    limits = (
        limit("each", 3, tiers={"gold": Quota(Rate(1, 86_400), 30)}),
        ORG,
        limit("net", 5, per=(Prefixes(24, 48),)),
        limit("inside", 1, exempt=Exemption(networks=(ip_network("10.0.0.0/8"),))),
    )
    async with knowing(*limits[:3]) as running:
        gold = await ask_for(running, user_id="ana", endpoint="order", weight=1, tier="gold")
        assert gold.body["remaining"] == 29
        org = await ask_for(running, user_id="bob", endpoint="order", weight=3, attributes={"org": "acme"})
        assert (org.body["allowed"], org.body["remaining"]) == (True, 0)
        other = await ask_for(running, user_id="cleo", endpoint="order", weight=2, attributes={"org": "acme"})
        assert (other.body["allowed"], other.body["remaining"]) == (False, 1)
        assert (await ask_for(running, user_id="cleo", endpoint="order", weight=2, attributes={})).body["allowed"]
        net = [await ask_for(running, address=f"203.0.113.{each}", endpoint="order", weight=1) for each in range(6)]
        assert [each.body["allowed"] for each in net] == [True] * 5 + [False]
    async with knowing(limits[3]) as running:
        known = [
            await ask_for(running, user_id="ana", endpoint="order", weight=5, address=address)
            for address in ("10.1.2.3", "192.0.2.1")
        ]
        assert [each.body["allowed"] for each in known] == [True, False]


@pytest.mark.parametrize("member", [{"tier": "gold"}, {"attributes": {"org": "acme"}}, {"address": "192.0.2.1"}])
async def test_whoever_vouches_for_a_caller_needs_a_scope_of_its_own(member: dict[str, Any]) -> None:
    async with knowing(ORG) as running:
        for question in (GOOD | member, {"items": [GOOD, GOOD | member]}):
            assert (await running.call("POST", PATH, question, token=CHECK)).status == 403
            assert (await running.call("POST", PATH, question, token=VOUCHING)).status == 200


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_items_are_charged_together_or_not_at_all(shared: bool) -> None:
    async with redis_server() as redis:
        limits = limit("each", 10), limit("create", 3, per=("endpoint",), endpoints=frozenset({"create"}))
        async with knowing(*limits, store=redis.url if shared else None) as running:

            async def both(orders: int, creations: int) -> Any:
                items = [GOOD | {"weight": orders}, GOOD | {"endpoint": "create", "weight": creations}]
                return (await ask_for(running, CHECK, items=items)).body

            first = await both(4, 2)
            assert first["allowed"]
            assert [(each["allowed"], each["remaining"]) for each in first["items"]] == [(True, 4), (True, 1)]
            second = await both(1, 2)
            assert not second["allowed"]
            assert [(each["allowed"], each["remaining"]) for each in second["items"]] == [(True, 4), (False, 1)]
            third = await both(4, 1)  # the user's bucket would have to pay for both
            assert [each["allowed"] for each in third["items"]] == [False, False]
            assert (await running.check("alice", "order", 4))["allowed"]  # nothing was taken


@pytest.mark.parametrize(
    ("question", "pointer", "said"),
    [
        ({"items": []}, "#/items", "must be a list of 1 to 50 objects"),
        ({"items": [GOOD] * 51}, "#/items", "must be a list of 1 to 50 objects"),
        ({"items": [GOOD], "weight": 1}, "#/weight", "unknown member"),
        ({"items": [GOOD, GOOD | {"wieght": 1}]}, "#/items/1/wieght", "unknown member"),
        ({"items": [GOOD | {"endpoint": "nowhere"}]}, "#/items/0/endpoint", "no endpoint in the rules"),
        ({"items": [{"endpoint": "order", "weight": 1}]}, "#/items/0/user_id", "this member is required"),
        (GOOD | {"address": "10.0.0.0/8"}, "#/address", "must be an IP address"),
        (GOOD | {"attributes": {"orgg": "acme"}}, "#/attributes", "no identity source names orgg"),
        (GOOD | {"attributes": {"org": ["acme"]}}, "#/attributes", "must be an object of up to 16 strings"),
        ({"address": "192.0.2.1", "tier": "gold", "endpoint": "order", "weight": 1}, "#/tier", "needs user_id"),
    ],
)
async def test_a_question_that_cannot_be_answered_says_where_and_why(
    question: dict[str, Any], pointer: str, said: str
) -> None:
    async with knowing(ORG) as running:
        answer = await running.call("POST", PATH, question, token=VOUCHING)
    assert answer.status == 400
    (error,) = answer.body["errors"]
    assert error["pointer"] == pointer
    assert said in error["detail"]


async def test_items_are_unavailable_together_when_a_limit_says_so() -> None:
    async with redis_server() as redis, knowing(limit("each", 9, outage="refuse"), store=redis.url) as running:
        redis.kill()
        answer = (await ask_for(running, CHECK, items=[GOOD, GOOD])).body
    assert not answer["allowed"]
    assert [(each["allowed"], each["remaining"]) for each in answer["items"]] == [(False, 0)] * 2
