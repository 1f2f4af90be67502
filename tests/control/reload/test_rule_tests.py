"""Rules that fail their tests are not reloaded, in no worker, whoever asks."""

import asyncio
import signal
from pathlib import Path

from gateway.config.rule_test import MAX_REQUESTS
from tests.control.fleet import Gateway, fleet_member
from tests.control.reload.test_api import BURST, audited, reload, revisions
from tests.redis_server import redis_server
from tests.waiting import eventually

TESTS = """\
tests:
  - name: ten at once
    as: {user: ana}
    steps:
      - {request: GET /v1/orders/7, times: 10, expect: allowed}
      - {request: GET /v1/orders/7, expect: refused, by: each}
"""
FAILURE = (
    "rule_tests.yaml:6:45: tests[0].steps[1].expect: expected refused, but the request was allowed; each has 9 of 20 "
    "tokens left (ten at once)"
)


def set_up(folder: Path, text: str = TESTS) -> str:
    """Write tests, and return the setting that names them."""
    folder.mkdir(exist_ok=True)
    (folder / "rule_tests.yaml").write_text(text)
    return "rule_tests: rule_tests.yaml\n"


async def rejected(running: Gateway) -> float:
    """How many reloads of rejected rules the metrics count."""
    text = (await running.call("GET", "/metrics")).body.decode()
    lines = [line for line in text.splitlines() if line.startswith('gateway_rules_reloads_total{outcome="rejected"')]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_a_reload_whose_tests_fail_changes_nothing_on_any_worker(tmp_path: Path) -> None:
    more = set_up(tmp_path)
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=3, more=more) as running:
        before = await revisions(running)
        running.write_rules(BURST)
        for query in ("", "?dry_run=true"):
            answer = await reload(running, query)
            assert answer.status == 422
            assert answer.body["detail"] == "the new rules fail their tests; what is in force stays"
            assert [each.removeprefix(f"{tmp_path}/") for each in answer.body["problems"]] == [FAILURE]
            assert answer.body["changed"]["limits"]["changed"][0]["after"] == {"burst": 20}
            assert (answer.body["dry_run"], "analytics" in answer.body) == (bool(query), bool(query))
            (failure,) = answer.body["tests"]["failures"]
            assert (answer.body["tests"]["passed"], answer.body["tests"]["failed"]) == (0, 1)
            assert (failure["file"], failure["line"], failure["column"]) == (str(tmp_path / "rule_tests.yaml"), 6, 45)
            assert failure["message"].startswith("expected refused, but the request was allowed; each has 9 of 20")
        assert await revisions(running) == before
        assert [line["action"] for line in audited(running)] == ["start", "refused", "refused"]
        assert "1 rule tests failed" in str(audited(running)[-1])
        set_up(tmp_path, TESTS.replace("times: 10", "times: 20"))
        answer = await reload(running)
        assert (answer.status, answer.body["tests"]) == (200, {"passed": 1, "failed": 0, "failures": []})
        assert await revisions(running) == {answer.body["revision"]} != before


async def test_sighup_likewise(tmp_path: Path) -> None:
    more = set_up(tmp_path)
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2, more=more) as running:
        before = await revisions(running)
        running.write_rules(BURST)
        running.process.signal(signal.SIGHUP)
        await running.process.says("reload_rejected.*ten at once")
        await running.process.says("reload_refused.*fail their tests")
        assert await revisions(running) == before

        async def is_counted() -> bool:
            return await rejected(running) == 1

        await eventually(is_counted)
        set_up(tmp_path, TESTS.replace("times: 10", "times: 20"))
        running.process.signal(signal.SIGHUP)

        async def is_done() -> bool:
            return not await revisions(running) & before

        await eventually(is_done)


async def test_tests_that_cannot_be_used_are_reported_with_their_places(tmp_path: Path) -> None:
    more = set_up(tmp_path)
    async with fleet_member(tmp_path, 9, more=more) as running:
        set_up(tmp_path, TESTS.replace("by: each", "by: eac"))
        answer = await reload(running)
        assert answer.status == 422
        (problem,) = answer.body["problems"]
        assert "rule_tests.yaml:6:58: tests[0].steps[1].by: unknown limit 'eac'" in problem
        assert answer.body["changed"]["limits"]["changed"] == []
        assert "tests" not in answer.body
        (tmp_path / "rule_tests.yaml").unlink()
        answer = await reload(running)
        assert answer.status == 422
        assert "cannot be read: No such file" in answer.body["problems"][0]


async def test_a_gateway_whose_tests_fail_starts_all_the_same(tmp_path: Path) -> None:
    more = set_up(tmp_path, TESTS.replace("times: 10", "times: 11"))
    async with fleet_member(tmp_path, 9, more=more) as running:
        assert len(await revisions(running)) == 1
        assert (await reload(running)).status == 422


async def test_requests_are_served_while_tests_run(tmp_path: Path) -> None:
    many = "  - {name: many, as: {user: b}, steps: [{request: GET /v1/orders/7, times: 10, expect: allowed}, "
    many += f"{{request: GET /v1/orders/7, times: {MAX_REQUESTS // 4}, expect: refused}}]}}\n"
    more = set_up(tmp_path, TESTS + many)
    async with fleet_member(tmp_path, 9, more=more) as running:
        reloading = asyncio.create_task(reload(running))
        served = 0
        while not reloading.done():
            assert (await running.call("GET", "/healthz")).status == 200
            served += 1
        assert (await reloading).body["tests"]["passed"] == 2
        assert served > 20  # 1000 where nothing else runs; a worker that waits for its tests serves 1 or 2
