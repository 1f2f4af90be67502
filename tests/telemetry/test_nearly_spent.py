"""Decisions that leave less than 20 % of a bucket are counted, wherever the bucket is kept."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.control.running import Running, gateway, limit
from tests.redis_server import redis_server

LIMITS = limit("each", 10), limit("all", 1000, per=()), limit("trial", 5, enforce=False)


async def nearly_spent(running: Running) -> dict[str, float]:
    """What the metrics count, by limit."""
    text = (await running.call("GET", "/metrics")).body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    name = "gateway_limit_nearly_spent_total"
    return {sample.labels["limit"]: sample.value for sample in samples if sample.name == name}


async def spend(running: Running) -> None:
    """Twelve requests of one caller, of which the last two are refused."""
    assert [(await running.check("ana", "order"))["allowed"] for _ in range(12)] == [True] * 10 + [False] * 2


@pytest.mark.parametrize("place", ["memory", "redis", "fallback"])
async def test_they_are_counted_for_each_limit(place: str) -> None:
    if place == "memory":
        async with gateway(*LIMITS) as running:
            await spend(running)
            found = await nearly_spent(running)
    else:
        async with redis_server() as redis, gateway(*LIMITS, store=redis.url) as running:
            if place == "fallback":
                redis.kill()
            await spend(running)
            found = await nearly_spent(running)
    # each holds 1 and 0 of 10, then 0 twice; trial 0 of 5 from the fifth request on
    assert found == {"each": 4, "all": 0, "trial": 8}
