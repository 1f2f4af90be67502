"""What running gateways' metrics say of limits: those in force, and decisions that left less than 20 % of a bucket."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.limits.calendar import MONTH, UTC_ZONE, Calendar, CalendarRate
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from tests.control.fleet import RULES, fleet_member
from tests.control.reload.test_api import reload
from tests.control.running import Running, gateway, limit
from tests.redis_server import redis_server

LIMITS = limit("each", 10), limit("all", 1000, per=()), limit("trial", 5, enforce=False)


async def shown(running: Running, name: str) -> dict[str, float]:
    """A metric's values by limit, and tier if it has one."""
    text = (await running.call("GET", "/metrics")).body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = [sample for sample in samples if sample.name == name]
    values = {" ".join(filter(None, sample.labels.values())): sample.value for sample in found}
    assert len(values) == len(found)
    return values


async def nearly_spent(running: Running) -> dict[str, float]:
    return await shown(running, "gateway_limit_nearly_spent_total")


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


async def test_a_reload_shows_the_rates_and_bursts_of_the_new_rules_and_no_others(tmp_path: Path) -> None:
    gold = RULES.replace("burst: 10", "burst: 10, tiers: {gold: {rate: 8/s, burst: 80}}")
    another = gold + "  - {name: another, per: endpoint, rate: 90/minute, burst: 5}\n"
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2, rules=another) as running:
        for text, rates, bursts in (
            (
                another,
                {"another": 1.5, "each": 1 / 86_400, "each gold": 8},
                {"another": 5, "each": 10, "each gold": 80},
            ),
            (gold, {"each": 1 / 86_400, "each gold": 8}, {"each": 10, "each gold": 80}),
            (RULES.replace("burst: 10", "burst: 20"), {"each": 1 / 86_400}, {"each": 20}),
            (
                another,
                {"another": 1.5, "each": 1 / 86_400, "each gold": 8},
                {"another": 5, "each": 10, "each gold": 80},
            ),
        ):
            running.write_rules(text)
            assert (await reload(running)).status == 200
            for _ in range(6):  # whichever worker responds
                assert await shown(running, "gateway_limit_rate_tokens_per_second") == pytest.approx(rates)
                assert await shown(running, "gateway_limit_burst_tokens") == bursts


async def test_a_calendar_quota_has_tokens_and_no_rate() -> None:
    quota = Quota.each_period(CalendarRate(7, Calendar(MONTH, UTC_ZONE)))
    async with gateway(limit("each", 10), Limit("monthly", ("user",), quota)) as running:
        assert (await shown(running, "gateway_limit_rate_tokens_per_second")).keys() == {"each"}
        assert await shown(running, "gateway_limit_burst_tokens") == {"each": 10, "monthly": 7}
        assert [(await running.check("ana", "order"))["remaining"] for _ in range(6)] == [6, 5, 4, 3, 2, 1]
        assert await nearly_spent(running) == {"each": 0, "monthly": 1}
