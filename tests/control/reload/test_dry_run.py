"""A dry run says what would change, whether the tests pass, and what the limits that it touches did lately."""

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.control.fleet import RULES, Gateway, fleet_member
from tests.control.reload.test_api import BURST, audited, reload, revisions
from tests.control.reload.test_rule_tests import TESTS, set_up
from tests.redis_server import redis_server
from tests.waiting import eventually

ANALYTICS = "analytics: {folder: analytics, interval: 1s}\n"


async def recorded(running: Gateway) -> float:
    """Decided requests that all workers have written."""
    text = (await running.call("GET", "/metrics")).body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(
        sample.value
        for sample in samples
        if sample.name == "gateway_analytics_requests_total" and sample.labels["outcome"] == "written"
    )


def of_limits(analytics: Any) -> dict[str, tuple[int, int, int]]:
    """By limit: allowed, refused, and callers refused."""
    assert analytics["available"], analytics
    return {
        each["limit"]: (each["allowed"], each["refused"], each["callers_refused_at_least"])
        for each in analytics["limits"]
    }


async def test_all_three_are_said_whether_the_tests_pass_or_fail_and_nothing_changes(tmp_path: Path) -> None:
    more = set_up(tmp_path) + ANALYTICS
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2, more=more) as running:
        before = await revisions(running)
        answers = [await running.check(user, "order") for user in ("ana", "bob") for _ in range(12)]
        assert sum(each["allowed"] for each in answers) == 20

        async def is_written() -> bool:
            return await recorded(running) == 24

        await eventually(is_written)
        running.write_rules(BURST)
        refused = await reload(running, "?dry_run=true")
        set_up(tmp_path, TESTS.replace("times: 10", "times: 20"))
        accepted = await reload(running, "?dry_run=true")
        assert (refused.status, accepted.status) == (422, 200)
        for answer, failed in ((refused, 1), (accepted, 0)):
            assert answer.body["changed"]["limits"]["changed"] == [
                {"name": "each", "before": {"burst": 10}, "after": {"burst": 20}}
            ]
            assert (answer.body["tests"]["passed"], answer.body["tests"]["failed"]) == (1 - failed, failed)
            assert of_limits(answer.body["analytics"]) == {"each": (20, 4, 2)}
            assert answer.body["analytics"]["since"] < answer.body["analytics"]["until"]
        running.write_rules(RULES.replace("/v1/orders/{id}", "/v2/orders/{id}"))
        assert of_limits((await reload(running, "?dry_run=true")).body["analytics"]).keys() == {"each"}
        running.write_rules(RULES + "  - {name: new, per: user, rate: 1/s, burst: 5}\n")
        assert of_limits((await reload(running, "?dry_run=true")).body["analytics"]) == {}
        assert await revisions(running) == before
    assert {line["action"] for line in audited(running)} == {"start", "refused"}


async def test_analytics_that_are_off_or_cannot_be_read_keep_nobody_from_the_rest(tmp_path: Path) -> None:
    async with fleet_member(tmp_path / "off", 9) as running:
        body = (await reload(running, "?dry_run=true")).body
        assert body["analytics"] == {
            "available": False,
            "why": "analytics are off; name a place for them in the section analytics of gateway.yaml",
        }
        assert body["tests"] == {"passed": 0, "failed": 0, "failures": []}
    folder = tmp_path / "broken"
    async with fleet_member(folder, 9, more=ANALYTICS) as running:
        (folder / "analytics").write_text("no folder")
        body = (await reload(running, "?dry_run=true")).body
        assert (body["analytics"]["available"], "changed" in body) == (False, True)
        assert "cannot be read: Not a directory" in body["analytics"]["why"]


async def test_dry_runs_at_once_change_nothing(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9, more=ANALYTICS) as running:
        running.write_rules(BURST)
        answers = await asyncio.gather(*(reload(running, "?dry_run=true") for _ in range(8)))
        assert {answer.status for answer in answers} == {200}
        assert all(answer.body["analytics"]["available"] for answer in answers)
    assert [line["action"] for line in audited(running)] == ["start"]
