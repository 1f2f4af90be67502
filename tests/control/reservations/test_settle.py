"""What is reserved is settled once and only once, by whichever gateway is asked; what never is, stays charged."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.limits.rules import Rules
from tests.auth.keys import token
from tests.control.running import CHECK, ENDPOINTS, Running, gateway, limit, settings, worker
from tests.redis_server import redis_server
from tests.waiting import eventually

CHECK_LIMIT, SETTLE = "/api/v1/check-limit", "/api/v1/settle"
LIMIT = limit("each", 1000)


@pytest.fixture(params=["memory", "redis"])
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with redis_server() as redis, gateway(LIMIT, store=redis.url if request.param == "redis" else None) as made:
        yield made


async def reserve(running: Running, weight: int = 200, **more: Any) -> Any:
    body = {"user_id": "ana", "endpoint": "order", "weight": weight, "reserve": True, **more}
    answer = await running.call("POST", CHECK_LIMIT, body, token=CHECK)
    assert answer.status == 200, answer
    return answer.body


async def settle(running: Running, reservation: str, cost: int) -> tuple[int, Any]:
    answer = await running.call("POST", SETTLE, {"reservation": reservation, "cost": cost}, token=CHECK)
    return answer.status, answer.body


async def left(running: Running, tokens: int) -> None:
    async def reached() -> bool:
        return bool((await running.check("ana", "order", 0))["remaining"] == tokens)

    await eventually(reached)


@pytest.mark.parametrize(("cost", "tokens"), [(37, 963), (200, 800), (300, 700), (0, 1000), (5000, 0)])
async def test_the_difference_is_charged_or_refunded(running: Running, cost: int, tokens: int) -> None:
    reserved = await reserve(running)
    assert (reserved["allowed"], reserved["remaining"]) == (True, 800)
    assert await settle(running, reserved["reservation"], cost) == (
        200, {"reservation": reserved["reservation"], "cost": cost},
    )  # fmt: skip
    await left(running, tokens)


async def test_an_overrun_is_owed_beyond_what_the_bucket_holds(running: Running) -> None:
    reservations = [(await reserve(running, 100))["reservation"] for _ in range(2)]
    await settle(running, reservations[0], 5000)
    await left(running, 0)
    await settle(running, reservations[1], 0)  # the refund pays for a part of it
    assert not (await running.check("ana", "order"))["allowed"]


async def test_a_repeated_call_answers_the_same_and_changes_nothing(running: Running) -> None:
    reservation = (await reserve(running))["reservation"]
    answers = [await settle(running, reservation, cost) for cost in (37, 37, 999)]
    assert answers == [(200, {"reservation": reservation, "cost": 37})] * 3
    await left(running, 963)
    assert (await running.check("ana", "order", 0))["remaining"] == 963


async def test_of_many_calls_at_once_one_counts(running: Running) -> None:
    reservation = (await reserve(running))["reservation"]
    answers = await asyncio.gather(*[settle(running, reservation, cost) for cost in range(100, 120)])
    (cost,) = {body["cost"] for _, body in answers}
    await left(running, 1000 - cost)


async def test_what_is_refused_reserves_nothing_and_an_unlimited_user_can_settle_as_well(running: Running) -> None:
    refused = await reserve(running, 1001)
    assert (refused["allowed"], refused["reservation"]) == (False, None)
    async with gateway() as free:
        assert (await settle(free, (await reserve(free))["reservation"], 7))[0] == 200


async def test_an_unknown_reservation_is_a_404_and_what_is_put_badly_a_400(running: Running) -> None:
    status, body = await settle(running, "unknown", 5)
    assert (status, body["detail"]) == (404, "there is no such reservation: its ttl is over, or it never was")
    for wrong in ({"cost": 1}, {"reservation": "x"}, {"reservation": "x", "cost": -1}, {"reservation": 5, "cost": 1},
                  {"reservation": "x", "cost": 1.5}, {"reservation": "x", "cost": 1, "more": 1}):  # fmt: skip
        assert (await running.call("POST", SETTLE, wrong, token=CHECK)).status == 400, wrong


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"ttl": 0}, "#/ttl"), ({"ttl": 86_401}, "#/ttl"), ({"ttl": "60"}, "#/ttl"), ({"reserve": 1}, "#/reserve"),
        ({"reserve": False, "ttl": 60}, "#/ttl"), ({"weight": 0}, "#/weight"),
    ],
)  # fmt: skip
async def test_a_reservation_that_is_put_badly_charges_nothing(more: Any, pointer: str) -> None:
    body = {"user_id": "ana", "endpoint": "order", "weight": 5, "reserve": True, **more}
    async with gateway(LIMIT) as running:
        answer = await running.call("POST", CHECK_LIMIT, body, token=CHECK)
        assert answer.status == 400
        assert [error["pointer"] for error in answer.body["errors"]] == [pointer]
        items = {"items": [{"user_id": "ana", "endpoint": "order", "weight": 5}], "reserve": True}
        assert (await running.call("POST", CHECK_LIMIT, items, token=CHECK)).status == 400
        assert (await running.check("ana", "order", 0))["remaining"] == 1000


async def test_who_may_check_may_settle_and_nobody_else() -> None:
    async with gateway(LIMIT) as running:
        reservation = (await reserve(running))["reservation"]
        body = {"reservation": reservation, "cost": 1}
        assert (await running.call("POST", SETTLE, body)).status == 401
        assert (await running.call("POST", SETTLE, body, token=token("limits:read"))).status == 403
        assert (await running.call("POST", SETTLE, body, token=CHECK)).status == 200


async def test_another_gateway_settles_and_a_calendar_quota_is_settled_in_its_period() -> None:
    async with redis_server() as redis:
        made, rules = settings(store=redis.url), Rules(ENDPOINTS, [LIMIT], revision="cafe00000001")
        async with worker(made, rules) as one, worker(made, rules) as other:
            reservation = (await reserve(one))["reservation"]
            assert await settle(other, reservation, 37) == await settle(one, reservation, 5)
            await left(one, 963)


async def test_what_is_never_settled_stays_charged_and_is_gone_after_its_ttl() -> None:
    async with redis_server() as redis, gateway(LIMIT, store=redis.url) as running, Redis(port=redis.port) as client:
        reservation = (await reserve(running, ttl=30))["reservation"]
        (key,) = await client.keys("gateway:reservation:*")
        assert 25_000 < await client.pttl(key) <= 30_000
        await client.pexpire(key, 1)

        async def is_over() -> bool:
            return not await client.exists(key)

        await eventually(is_over)
        assert (await settle(running, reservation, 5))[0] == 404
        await left(running, 800)


async def test_without_redis_nothing_is_reserved_and_nothing_settled() -> None:
    async with redis_server() as redis, gateway(LIMIT, store=redis.url) as running:
        reservation = (await reserve(running))["reservation"]
        redis.kill()

        async def is_degraded() -> bool:
            reserved = await reserve(running, 1)
            assert reserved["allowed"]
            return reserved["reservation"] is None

        await eventually(is_degraded)
        status, body = await settle(running, reservation, 5)
        assert (status, "ask again" in body["detail"]) == (503, True)
