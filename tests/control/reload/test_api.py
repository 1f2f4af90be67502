"""Reload: all or nothing, in every worker, without a request dropped or a token handed back."""

import asyncio
import os
import re
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from gateway.control.audit.chain import verify_chain
from gateway.control.audit.log_file import AuditLog
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from tests.auth.keys import token
from tests.control.fleet import RULES, Gateway, fleet_member
from tests.control.overrides.test_api import override, put
from tests.control.running import Answer
from tests.redis.builders import limiter
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import OK, Client, Conversation, get, upstream

PATH = "/api/v1/admin/reload"
RELOAD = token("reload")
READ = token("limits:read")
BURST = RULES.replace("burst: 10", "burst: 20")
ANOTHER = RULES + "  - {name: order-total, per: endpoint, rate: 1/s, burst: 5, endpoints: [order]}\n"


async def reload(running: Gateway, query: str = "") -> Answer:
    return await running.call("POST", PATH + query, token=RELOAD)


async def revisions(running: Gateway, connections: int = 24) -> set[str]:
    """The rules in force, asked on many connections, so that every worker is."""
    asked = [running.call("GET", "/api/v1/admin/rules", token=READ) for _ in range(connections)]
    return {answer.body["revision"] for answer in await asyncio.gather(*asked)}


def audited(running: Gateway) -> list[dict[str, Any]]:
    log = AuditLog(running.audit)
    assert verify_chain(log.lines()) is not None
    return log.page(0, 1000)


async def test_every_worker_has_the_new_rules_before_it_answers(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=3) as running:
        before = await revisions(running)
        for text in (BURST, ANOTHER, RULES) * 2:
            running.write_rules(text)
            answer = await reload(running)
            assert answer.status == 200
            assert await revisions(running) == {answer.body["revision"]}
        assert {answer.body["revision"]} == before


async def test_it_says_what_changed_and_the_audit_log_does_too(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        started = (await running.call("GET", "/api/v1/admin/rules", token=READ)).body
        running.write_rules(ANOTHER.replace("burst: 10", "burst: 20").replace("/{id}", "/{id}/x"))
        body = (await reload(running)).body
        now = (await running.call("GET", "/api/v1/admin/rules", token=READ)).body
    assert body["previous"] == started["revision"] != body["revision"] == now["revision"]
    assert now["since"] > started["since"]
    assert body["changed"] == {
        "endpoints": {
            "added": [],
            "removed": [],
            "changed": [
                {"name": "order", "before": {"path": "/v1/orders/{id}"}, "after": {"path": "/v1/orders/{id}/x"}}
            ],
        },
        "limits": {
            "added": ["order-total"],
            "removed": [],
            "changed": [{"name": "each", "before": {"burst": 10}, "after": {"burst": 20}}],
        },
        "tiers": {"added": [], "removed": [], "changed": []},
        "block": {"added": [], "removed": []},
    }
    start, line = audited(running)
    assert (start["action"], start["after"]) == ("start", started["revision"])
    assert (line["action"], line["actor"], line["before"]) == ("reload", "ana", started["revision"])
    assert line["after"] == {"revision": body["revision"], **body["changed"]}


async def test_invalid_files_are_reported_with_every_place_and_nothing_changes(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2) as running:
        before = await revisions(running)
        running.write_rules(RULES.replace("rate: 1/day", "rate: fast").replace("methods: [GET]", "method: [GET]"))
        answer = await reload(running)
        assert (answer.status, answer.type) == (422, "application/problem+json")
        problems = answer.body["problems"]
        assert len(problems) == 2
        assert all(re.match(rf"{re.escape(str(tmp_path))}/rules\.yaml:\d+:\d+: ", each) for each in problems)
        assert (await reload(running, "?dry_run=true")).status == 422
        (tmp_path / "rules.yaml").unlink()
        answer = await reload(running)
        assert (answer.status, "rules.yaml" in answer.body["problems"][0]) == (422, True)
        assert await revisions(running) == before
    assert [line["action"] for line in audited(running)] == ["start", "refused", "refused", "refused"]


async def test_many_reloads_at_once_take_turns(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2) as running:
        running.write_rules(BURST)
        answers = await asyncio.gather(*(reload(running) for _ in range(24)))
        assert {answer.status for answer in answers} == {200}
        assert sum(answer.body["previous"] != answer.body["revision"] for answer in answers) == 1
    assert [line["sequence"] for line in audited(running)] == list(range(1, 26))


async def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        before = await revisions(running, 1)
        running.write_rules(BURST)
        body = (await reload(running, "?dry_run=true")).body
        assert (body["dry_run"], body["changed"]["limits"]["changed"][0]["name"]) == (True, "each")
        assert await revisions(running, 1) == before
    assert [line["action"] for line in audited(running)] == ["start"]


async def test_what_was_spent_stays_spent_and_no_bucket_holds_more_than_the_new_burst(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2) as running:
        assert (await running.check("alice", "order", 7))["remaining"] == 3
        for text, left in (
            (RULES.replace("burst: 10", "burst: 20"), 13),
            (RULES.replace("burst: 10", "burst: 8"), 1),
            (RULES.replace("1/day, burst: 10", "2/day, burst: 8"), 1),
            (RULES.replace("burst: 10", "burst: 3"), 0),
            (RULES, 7),
        ):
            running.write_rules(text)
            assert (await reload(running)).status == 200
            assert (await running.check("bob", "order", 0))["remaining"] == int(text.split("burst: ")[1].split("}")[0])
            if left != 7:  # under a burst of 3, alice owes 3: that is what is known of her from then on
                assert (await running.check("alice", "order", 0))["remaining"] == left


async def test_overrides_outlive_a_reload(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        assert await put(running, "alice", override("exempt")) == 201
        running.write_rules(BURST)
        assert (await reload(running)).status == 200
        assert (await running.check("alice", "order", 1000))["allowed"]


async def test_sighup_reloads_every_worker(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2) as running:
        before = await revisions(running)
        running.write_rules(BURST)
        running.process.signal(signal.SIGHUP)

        async def is_done() -> bool:
            return not await revisions(running) & before

        await eventually(is_done)
        running.write_rules("limits: 7\n")
        running.process.signal(signal.SIGHUP)
        await running.process.says("reload_rejected")
    assert [line["actor"] for line in audited(running)] == ["(gateway)", "(SIGHUP)", "(SIGHUP)"]


async def test_sighup_reloads_a_single_process(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        await running.process.says("worker_serving")
        running.write_rules(BURST)
        running.process.signal(signal.SIGHUP)
        await running.process.says("rules_reloaded")
        assert (await running.check("alice", "order", 0))["remaining"] == 20


async def test_a_worker_that_is_started_later_has_the_rules_in_force_and_not_the_files(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2) as running:
        running.write_rules(BURST)
        revision = (await reload(running)).body["revision"]
        running.write_rules(ANOTHER)  # not asked for yet
        await running.process.says(r"(?s)(worker_serving.*){2}")
        for found in re.finditer(r'"pid": (\d+), "event": "worker_serving"', running.process.output):
            os.kill(int(found[1]), signal.SIGKILL)
        await running.process.says(r"(?s)(worker_serving.*){4}")
        assert await revisions(running) == {revision}
        assert (await reload(running)).body["previous"] == revision


async def test_a_reload_needs_its_scope(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        assert (await running.call("POST", PATH, token=READ)).status == 403
        assert (await running.call("POST", PATH)).status == 401
        assert (await reload(running, "?dry_run=maybe")).status == 400
        assert (await reload(running, "?dry-run=true")).status == 400
        assert (await reload(running, "?dry_run=true&dry_run=false")).status == 400


async def test_what_cannot_be_audited_is_not_reloaded(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        before = await revisions(running, 1)
        running.audit.unlink()
        running.audit.mkdir()
        running.write_rules(BURST)
        assert (await reload(running)).status == 503
        assert await revisions(running, 1) == before


async def test_the_fleet_reloads_and_each_gateway_answers_for_itself(tmp_path: Path) -> None:
    async with (
        redis_server() as redis,
        fleet_member(tmp_path / "a", 9, redis.url, workers=2) as first,
        fleet_member(tmp_path / "b", 9, redis.url, workers=2) as second,
    ):

        async def knows_the_other() -> bool:
            return len((await reload(first, "?fleet=true&dry_run=true")).body["gateways"]) == 1

        await eventually(knows_the_other)
        for each in (first, second):
            each.write_rules(BURST)
        body = (await reload(first, "?fleet=true")).body
        ((_, said),) = body["gateways"].items()
        assert (said["status"], said["revision"]) == (200, body["revision"])
        assert await revisions(second) == {body["revision"]}
        second.write_rules("limits: 7\n")
        first.write_rules(RULES)
        body = (await reload(first, "?fleet=true")).body
        ((_, said),) = body["gateways"].items()
        assert (said["status"], len(said["problems"])) == (422, 1)
        assert await revisions(first) == {body["revision"]} != await revisions(second)
    assert audited(second)[-1]["actor"] == "ana"
    # Who asks has reloaded already, and none of its workers takes the question for another's.
    assert [line["action"] for line in audited(first)] == ["start", "reload", "reload"]


@pytest.mark.untraced
async def test_simultaneous_fleet_reloads_are_carried_out_by_all_others(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_server())
        fleet = [await stack.enter_async_context(fleet_member(tmp_path / name, 9, redis.url)) for name in "abc"]

        async def know_each_other() -> bool:
            answers = await asyncio.gather(*(reload(each, "?fleet=true&dry_run=true") for each in fleet))
            return all(len(answer.body["gateways"]) == 2 for answer in answers)

        await eventually(know_each_other)
        for each in fleet:
            each.write_rules(BURST)
        asked = [each for each in fleet for _ in range(3)]
        for answer in await asyncio.gather(*(reload(each, "?fleet=true") for each in asked)):
            said = answer.body["gateways"].values()
            assert [each and each["status"] for each in said] == [200, 200]
            names = list(answer.body["gateways"])
            assert {name.rpartition("/")[0] for name in names} == {gethostname()}
            assert len(set(names)) == len(names)
    # Nine were asked for, and every gateway did each of them once.
    for each in fleet:
        assert [line["action"] for line in audited(each)] == ["start", *["reload"] * 9]


BURST_UNDER_LOAD = 10_000_000
OLD, NEW = (
    f"endpoints:\n  - {{name: order, methods: [GET], path: '/v1/orders/{{id}}', cost: {cost}}}\n"
    "limits:\n"
    f"  - {{name: each, per: user, rate: 1/minute, burst: {BURST_UNDER_LOAD}}}\n"
    f"  - {{name: total, per: endpoint, endpoints: [order], rate: 1/minute, burst: {BURST_UNDER_LOAD}}}\n"
    for cost in (1, 1000)
)


@pytest.mark.untraced
async def test_under_load_no_request_fails_and_no_decision_mixes_old_and_new(tmp_path: Path) -> None:
    """Two gateways with two workers each. By the old rules a request costs 1 in both limits, by the new ones 1000.

    A decision that mixed them would charge the two buckets differently; so at the end both hold the same debt.
    """

    async def answer(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.send(OK)

    served: list[int] = []
    done = asyncio.Event()

    async def load(gateway: Gateway) -> None:
        async with Client.connect(gateway.public) as client:
            while not done.is_set():
                served.append((await client.ask(get("/v1/orders/7", "X-User-Id: alice"))).status)

    async with (
        redis_server() as redis,
        upstream(answer) as api,
        fleet_member(tmp_path / "a", api.port, redis.url, workers=2, rules=OLD) as first,
        fleet_member(tmp_path / "b", api.port, redis.url, workers=2, rules=OLD) as second,
    ):
        tasks = [asyncio.create_task(load(each)) for each in (first, second) for _ in range(8)]
        for number in range(6):
            for each in (first, second):
                each.write_rules(NEW if number % 2 == 0 else OLD)
            assert (await reload(first, "?fleet=true")).status == 200
            assert await put(second, "bob", override("exempt")) in {200, 201}
            seen = len(served)

            async def goes_on(seen: int = seen) -> bool:
                return len(served) > seen + 50

            await eventually(goes_on)
        done.set()
        await asyncio.gather(*tasks)
        assert set(served) == {200}
        each_left = (await first.check("alice", "order", 0))["remaining"]
        spent = BURST_UNDER_LOAD - each_left
        total = await redis_spent(redis.url, "total")
        assert spent > len(served)
        assert abs(total - spent) <= 1


async def redis_spent(url: str, limit: str) -> int:
    """Tokens missing from a limit's shared bucket, as Redis holds it."""
    charge = Charge.of(limit, Quota(Rate(1, 60), BURST_UNDER_LOAD), 0)
    async with limiter(url) as opened:
        verdict = await opened.check([Demand(f"{limit}:order:*".encode(), charge)])
    return -(-verdict.decision.owed[0] // charge.quota.interval)
