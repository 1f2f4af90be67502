"""Overrides, usage and reset of addresses and networks; and what is said to those that would have no effect."""

from pathlib import Path
from typing import Any

import pytest

from gateway.control.audit.log_file import AuditLog
from tests.control.overrides.test_api import BASE, READ, WRITE, override, put
from tests.control.running import ENDPOINTS, Running, gateway, limit
from tests.redis_server import redis_server
from tests.waiting import until
from tests.wire import Message, ask, get, upstream

PLACE = limit("place", 3, per=("address",))
EACH = limit("each", 5)
SHARED = limit("shared", 99, per=("endpoint",))


async def send(running: Running, address: str, user: str = "") -> Message:
    fields = [f"X-Forwarded-For: {address}", *[f"X-User-Id: {user}"] * bool(user)]
    return await ask(running.public, get("/v1/orders/7", *fields))


async def usage(running: Running, target: str) -> Any:
    answer = await running.call("GET", f"/api/v1/admin/usage/{target}", token=READ)
    assert answer.status == 200, answer
    return answer.body


def left(document: Any) -> dict[str, int]:
    return {bucket["limit"]: bucket["remaining"] for bucket in document["buckets"]}


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_a_blocked_address_gets_the_same_429_with_any_identity_until_it_is_removed(
    shared: bool, tmp_path: Path
) -> None:
    async with redis_server() as redis, upstream() as up:
        store: dict[str, Any] = {"store": redis.url if shared else None, "control": {"state": tmp_path}}
        async with gateway(PLACE, EACH, limit("once", 1), upstream=up.port, **store) as running:
            assert (await send(running, "192.0.2.1", "full")).status == 200
            plain = await send(running, "192.0.2.1", "full")
            assert plain.status == 429
            assert await put(running, "address/198.51.100.7", override("block")) == 201
            for user in ("", "ana", "bob"):
                assert await send(running, "198.51.100.7", user) == plain
            assert (await send(running, "198.51.100.8", "ana")).status == 200
            assert left(await usage(running, "address/198.51.100.7")) == {"(blocked)": 0}
            assert (await running.call("DELETE", f"{BASE}/address/198.51.100.7", token=WRITE)).status == 204
            assert (await send(running, "198.51.100.7", "bob")).status == 200
            assert (await running.call("DELETE", f"{BASE}/address/198.51.100.7", token=WRITE)).status == 404
    lines = [each for each in AuditLog(tmp_path / "audit.jsonl").page(0, 100) if each["action"].startswith("override")]
    assert [each["action"] for each in lines] == ["override.set", "override.removed"]
    assert all(each["target"].startswith("address ") and "198.51.100" not in str(each) for each in lines)


@pytest.mark.parametrize(
    ("path", "address", "covered"),
    [
        ("198.51.100.0/24", "198.51.100.0/24", "198.51.100.99"),
        ("198.51.100.0%2F24", "198.51.100.0/24", "198.51.100.99"),
        ("198.51.100.7/32", "198.51.100.7", "::ffff:198.51.100.7"),
        ("64:ff9b::198.51.100.7", "198.51.100.7", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::/64", "2001:db8::ffff"),
        ("2001%3Adb8%3A%3A/32", "2001:db8::/32", "2001:db8:1::1"),
    ],
)
async def test_a_network_is_named_in_either_way_and_listed_in_one(
    path: str, address: str, covered: str, tmp_path: Path
) -> None:
    async with upstream() as up, gateway(EACH, upstream=up.port, control={"state": tmp_path}) as running:
        assert await put(running, "zoe", override("block")) == 201
        assert await put(running, f"address/{path}", override("block")) == 201
        assert await put(running, f"address/{path}", override("block")) == 200
        assert (await send(running, covered, "ana")).status == 429
        page = (await running.call("GET", f"{BASE}?limit=1", token=READ)).body
        assert (page["overrides"][0]["address"], page["next"]) == (address, f"address/{address}")
        rest = (await running.call("GET", f"{BASE}?after={page['next'].replace('/', '%2F')}", token=READ)).body
        assert [each.get("user") for each in rest["overrides"]] == ["zoe"]
        shown = (await running.call("GET", f"{BASE}/address/{path}", token=READ)).body
        assert (shown["address"], shown["effect"], "user" in shown) == (address, "block", False)


async def test_a_rate_is_each_clients_own_and_what_was_spent_stays_spent(tmp_path: Path) -> None:
    async with upstream() as up, gateway(PLACE, EACH, upstream=up.port, control={"state": tmp_path}) as running:
        for user in ("ana", "bob"):
            assert (await send(running, "2001:db8::1", user)).status == 200
        assert await put(running, "address/2001:db8::/32", override("quota", rate="1/day", burst=4)) == 201
        assert left(await usage(running, "address/2001:db8::2")) == {"place": 2, "each": 4}
        statuses = [(await send(running, "2001:db8::3", user)).status for user in ("", "ana", "cleo")]
        assert statuses == [200, 200, 429]
        assert (await send(running, "2001:db8:1::1", "cleo")).status == 200
        assert left(await usage(running, "ana")) == {"each": 3}  # a user's own limit is as it was


async def test_a_reset_refills_every_client_of_a_network_and_usage_shows_who_has_spent(tmp_path: Path) -> None:
    async with upstream() as up, gateway(PLACE, EACH, upstream=up.port, control={"state": tmp_path}) as running:
        for address, user in (("198.51.100.7", "ana"), ("198.51.100.9", ""), ("198.51.101.1", "ana")):
            assert (await send(running, address, user)).status == 200
        spent = (await usage(running, "address/198.51.100.0/24"))["buckets"]
        found = {(each["address"], each["limit"], each["remaining"]) for each in spent}
        assert found == {("198.51.100.7", "place", 2), ("198.51.100.9", "place", 2), ("198.51.100.9", "each", 4)}
        answer = await running.call("POST", "/api/v1/admin/reset/address/198.51.100.0/24", token=WRITE)
        assert answer.body == {"address": "198.51.100.0/24", "buckets": 512}
        assert (await usage(running, "address/198.51.100.0/24"))["buckets"] == []
        assert left(await usage(running, "address/198.51.101.1")) == {"place": 2, "each": 5}
        for kind, method, token in (("usage", "GET", READ), ("reset", "POST", WRITE)):
            answer = await running.call(method, f"/api/v1/admin/{kind}/address/10.0.0.0/8", token=token)
            assert (answer.status, "too many clients" in answer.body["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("user", "path"),
    [
        ("198.51.100.7", "address/198.51.100.7"),
        ("198.51.100.0%2F24", "address/198.51.100.0/24"),
        ("address%2F198.51.100.7", "address/198.51.100.7"),
        ("2001:db8::1", "address/2001:db8::/64"),
        ("[2001:db8::1]:443", "address/{address}"),
    ],
)
async def test_an_address_in_the_place_of_a_user_gets_the_right_path(user: str, path: str, tmp_path: Path) -> None:
    async with gateway(EACH, control={"state": tmp_path}) as running:
        for method, base in (("PUT", BASE), ("POST", "/api/v1/admin/reset"), ("GET", "/api/v1/admin/usage")):
            answer = await running.call(
                method, f"{base}/{user}", override("block") if method == "PUT" else None,
                token=READ if method == "GET" else WRITE,
            )  # fmt: skip
            assert answer.status == 400
            assert answer.body["detail"] == f"this is an address, not a user id; its path is {base}/{path}"


@pytest.mark.parametrize("address", ["ana", "198.51.100.7/24", "2001:db8::/96", "1.2.3.4:80", "198.51.100.0/33", "a/b"])
async def test_what_names_no_clients_is_a_400(address: str, tmp_path: Path) -> None:
    async with gateway(EACH, control={"state": tmp_path}) as running:
        assert await put(running, f"address/{address}", override("block")) == 400
        assert (await running.call("GET", f"/api/v1/admin/usage/address/{address}", token=READ)).status == 400


@pytest.mark.parametrize(
    ("target", "change", "pointer"),
    [
        ("ana", {"limits": ["place"]}, "#/limits"),
        ("ana", {"limits": ["shared"]}, "#/limits"),
        ("address/192.0.2.1", {"limits": ["shared"]}, "#/limits"),
        ("address/192.0.2.1", {"limits": ["place"], "endpoints": ["create"]}, "#/endpoints"),
        ("address/192.0.2.1", {"limits": ["place", "each"], "endpoints": ["create"]}, "#/limits"),
    ],
)
async def test_a_rate_that_changes_nothing_is_refused(
    target: str, change: dict[str, Any], pointer: str, tmp_path: Path
) -> None:
    place = limit("place", 3, per=("address",), endpoints=frozenset({"order"}))
    async with gateway(place, EACH, SHARED, endpoints=ENDPOINTS, control={"state": tmp_path}) as running:
        body = override("quota", rate="1/day", burst=4) | change
        answer = await running.call("PUT", f"{BASE}/{target}", body, token=WRITE)
        assert (answer.status, [each["pointer"] for each in answer.body["errors"]]) == (400, [pointer])


async def test_a_rate_is_refused_if_no_limit_has_a_bucket_for_the_target(tmp_path: Path) -> None:
    async with gateway(SHARED, PLACE, control={"state": tmp_path}) as running:
        body = override("quota", rate="1/day", burst=4)
        assert await put(running, "address/192.0.2.1", body) == 201
        answer = await running.call("PUT", f"{BASE}/ana", body, token=WRITE)
        assert (answer.status, answer.body["errors"][0]["pointer"]) == (400, "#/effect")


async def test_a_gateway_that_starts_without_redis_knows_which_addresses_are_blocked(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up:
        options: dict[str, Any] = {"upstream": up.port, "store": redis.url, "control": {"state": tmp_path}}
        async with gateway(EACH, **options) as running:
            assert await put(running, "address/198.51.100.0/24", override("block")) == 201
            await until((tmp_path / "overrides-known.json").exists)
        redis.kill()
        async with gateway(EACH, **options) as running:
            assert (await send(running, "198.51.100.7", "ana")).status == 429
            assert (await send(running, "198.51.101.7", "ana")).status == 200
