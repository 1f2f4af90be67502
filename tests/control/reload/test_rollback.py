"""Taking rules back: a rollback, and a reload that nobody confirms, in every worker of every gateway."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.control.fleet import RULES, Gateway, fleet_member
from tests.control.reload.test_api import ANOTHER, BURST, OLD, READ, RELOAD, audited, reload, revisions
from tests.control.reload.test_rule_tests import TESTS, set_up
from tests.control.running import Answer
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import OK, Client, Conversation, get, upstream

ADMIN = "/api/v1/admin"


async def rollback(running: Gateway, to: int, query: str = "") -> Answer:
    body = {"to": to, "reason": "too many are refused"}
    return await running.call("POST", f"{ADMIN}/rollback{query}", body, token=RELOAD)


async def confirm(running: Gateway, query: str = "") -> Answer:
    return await running.call("POST", f"{ADMIN}/confirm{query}", token=RELOAD)


async def rules(running: Gateway) -> dict[str, Any]:
    body: dict[str, Any] = (await running.call("GET", f"{ADMIN}/rules", token=READ)).body
    return body


async def returns_to(running: Gateway, before: set[str]) -> None:
    """Wait until every worker has the rules of before in force again."""

    async def are_back() -> bool:
        return await revisions(running) == before

    await eventually(are_back)


async def gauge(running: Gateway, name: str) -> set[str]:
    text = (await running.call("GET", "/metrics")).body.decode()
    return {line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{name}{{")}


async def test_a_rollback_puts_a_revision_in_force_in_every_worker_and_pins_it(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2) as running:
        before = await revisions(running)
        running.write_rules(BURST)
        bad = (await reload(running)).body
        assert (bad["number"], bad["confirm_by"]) == (2, None)
        answer = await rollback(running, 1)
        assert (answer.status, answer.body["number"], {answer.body["revision"]}) == (200, 1, before)
        assert await revisions(running) == before

        async def all_show_it() -> bool:
            return await gauge(running, "gateway_rules_pinned") == {"1.0"}

        await eventually(all_show_it)
        assert (await running.call("GET", "/readyz")).body == {"status": "ready", "rules": "pinned"}
        pinned = (await rules(running))["pinned"]
        assert (pinned["actor"], pinned["reason"]) == ("ana", "too many are refused")
        await running.process.says('"rules_pinned".*"number": 1')

        running.process.signal(signal.SIGHUP)
        await running.process.says("reload_refused.*revision 1 is pinned")
        answer = await reload(running)
        assert (answer.status, "were rolled back" in answer.body["detail"]) == (409, True)
        assert await revisions(running) == before
        assert (await rollback(running, 1)).status == 409

        assert (await reload(running, "?force=true")).status == 200
        assert await revisions(running) == {bad["revision"]}
        assert (await rules(running))["pinned"] is None
        listed = (await running.call("GET", f"{ADMIN}/revisions", token=READ)).body
        assert listed["in_force"] == listed["revisions"][0]["number"]
        one = (await running.call("GET", f"{ADMIN}/revisions/1", token=READ)).body
        assert one["files"] == {"rules.yaml": RULES}
    actions = [line["action"] for line in audited(running)]
    assert actions == ["start", "reload", "rollback", "refused", "refused", "refused", "reload"]
    line = audited(running)[2]
    assert (line["reason"], line["actor"]) == ("too many are refused", "ana")


async def test_other_files_end_a_pin_without_force(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        running.write_rules(BURST)
        await reload(running)
        await rollback(running, 1)
        running.write_rules(ANOTHER)
        answer = await reload(running)
        assert (answer.status, (await rules(running))["pinned"]) == (200, None)


async def test_a_rollback_runs_the_tests_that_the_revision_was_accepted_with(tmp_path: Path) -> None:
    more = set_up(tmp_path)
    async with fleet_member(tmp_path, 9, more=more) as running:
        before = await revisions(running, 1)
        set_up(tmp_path, TESTS.replace("times: 10", "times: 20"))
        running.write_rules(BURST)
        assert (await reload(running)).status == 200
        answer = await rollback(running, 1)
        assert (answer.status, answer.body["tests"]["passed"]) == (200, 1)
        assert await revisions(running, 1) == before


async def test_a_pin_outlives_a_restart_and_a_worker(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        before = await revisions(running, 1)
        running.write_rules(BURST)
        await reload(running)
        await rollback(running, 1)
        running.process.kill()
        await running.process.ends()
    async with fleet_member(tmp_path, 9, rules=None) as running:
        assert await revisions(running, 1) == before
        assert (await running.call("GET", "/readyz")).body["rules"] == "pinned"
        await running.process.says("NOT THE RULE FILES")


async def test_bad_input_is_refused_and_says_what_is_wrong(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        for query in (
            "confirm_within=0s",
            "confirm_within=2d",
            "confirm_within=soon",
            "confirm_within=5m&dry_run=true",
        ):
            assert (await reload(running, f"?{query}")).status == 400
        assert (await confirm(running)).status == 409
        assert (await rollback(running, 7)).status == 404
        for body in ({"to": 0, "reason": "x"}, {"to": 1}, {"to": 1, "reason": ""}, {"to": 1, "reason": "x", "more": 1}):
            assert (await running.call("POST", f"{ADMIN}/rollback", body, token=RELOAD)).status == 400
        for name in ("x", "0", "01", "1000000000", "9"):
            assert (await running.call("GET", f"{ADMIN}/revisions/{name}", token=READ)).status == 404
        assert (await running.call("GET", f"{ADMIN}/revisions", token=RELOAD)).status == 403
        assert (await running.call("POST", f"{ADMIN}/confirm", token=READ)).status == 403


async def test_a_reload_that_cannot_be_kept_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        before = await revisions(running, 1)
        (tmp_path / "state" / "revisions").rename(tmp_path / "elsewhere")
        (tmp_path / "state" / "revisions").write_text("no folder")
        running.write_rules(BURST)
        answer = await reload(running)
        assert (answer.status, "revisions" in answer.body["detail"]) == (503, True)
        assert await revisions(running, 1) == before


async def test_a_full_disk_refuses_a_reload_but_keeps_none_from_returning(tmp_path: Path) -> None:
    """A write to `/dev/full` fails as one to a full disk does."""
    async with fleet_member(tmp_path, 9) as running:
        before = await revisions(running, 1)
        (worker,) = running.process.children
        folder = tmp_path / "state" / "revisions"
        running.write_rules(BURST)
        for file in ("2", "in-force"):
            (folder / f"{file}.{worker}").symlink_to("/dev/full")
            answer = await reload(running)
            assert (answer.status, "No space left on device" in answer.body["detail"]) == (503, True)
            assert await revisions(running, 1) == before
            assert {each.name for each in folder.iterdir()} == {"1.json", "in-force.json"}
        assert (await reload(running, "?confirm_within=1s")).status == 200
        (folder / f"in-force.{worker}").symlink_to("/dev/full")
        await returns_to(running, before)
        assert (await rules(running))["pinned"]["actor"] == "(deadline)"
        running.process.kill()
        await running.process.ends()
    async with fleet_member(tmp_path, 9, rules=None) as running:
        assert await revisions(running, 1) == before


async def test_a_trial_whose_revision_before_is_lost_is_not_begun_and_can_be_ended(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        before = tmp_path / "state" / "revisions" / "1.json"
        kept = before.read_bytes()
        before.unlink()
        running.write_rules(BURST)
        answer = await reload(running, "?confirm_within=1s")
        assert (answer.status, "reload without confirm_within" in answer.body["detail"]) == (503, True)
        before.write_bytes(kept)
        assert (await reload(running, "?confirm_within=1s")).status == 200
        before.unlink()
        await running.process.says("nobody has confirmed revision 2 in time.*`gateway confirm`")
        assert (await confirm(running)).status == 200
        running.write_rules(ANOTHER)
        assert (await reload(running)).status == 200


async def test_a_damaged_note_of_a_trial_is_replaced_by_a_reload_with_force(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        running.write_rules(BURST)
        assert (await reload(running, "?confirm_within=1h")).status == 200
        (tmp_path / "state" / "revisions" / "in-force.json").write_text("{")
        running.write_rules(ANOTHER)
        answer = await reload(running)
        assert (answer.status, "force=true replaces it" in answer.body["detail"]) == (503, True)
        assert (await reload(running, "?force=true")).status == 200
        assert (await rules(running))["unconfirmed"] is None


async def test_a_dry_run_says_that_a_reload_would_be_refused(tmp_path: Path) -> None:
    async with fleet_member(tmp_path, 9) as running:
        running.write_rules(BURST)
        await reload(running, "?confirm_within=1h")
        (warning,) = (await reload(running, "?dry_run=true")).body["warnings"]
        assert warning.startswith("a reload would be refused: revision 2 waits to be confirmed")
        await rollback(running, 1)
        (warning,) = (await reload(running, "?dry_run=true")).body["warnings"]
        assert "were rolled back" in warning
        assert (await reload(running, "?dry_run=true&force=true")).body["warnings"] == []


async def test_without_redis_only_the_gateway_that_is_asked_confirms_and_says_so(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url) as running:
        running.write_rules(BURST)
        assert (await reload(running, "?confirm_within=1h")).status == 200
        redis.stop()
        answer = await confirm(running, "?fleet=true")
        assert answer.status == 503
        assert "this gateway is done, but Redis is unavailable" in answer.body["detail"]
        assert (await rules(running))["unconfirmed"] is None


async def test_a_confirmed_reload_stays_and_a_second_one_has_to_wait_for_it(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2) as running:
        running.write_rules(BURST)
        body = (await reload(running, "?confirm_within=3s")).body
        assert (await rules(running))["unconfirmed"]["confirm_by"] == body["confirm_by"]
        running.write_rules(ANOTHER)
        answer = await reload(running)
        assert (answer.status, "waits to be confirmed until" in answer.body["detail"]) == (409, True)
        running.process.signal(signal.SIGHUP)
        await running.process.says("reload_refused.*waits to be confirmed")
        assert (await confirm(running)).body == {"number": 2, "revision": body["revision"]}
        assert (await confirm(running)).status == 409
        await asyncio.sleep(4)  # past the deadline: nothing happens, which has no event
        assert await revisions(running) == {body["revision"]}
    assert [line["action"] for line in audited(running)] == ["start", "reload", "refused", "refused", "confirm"]


async def test_a_worker_that_asked_and_was_killed_keeps_none_from_returning(tmp_path: Path) -> None:
    async with redis_server() as redis, fleet_member(tmp_path, 9, redis.url, workers=2) as running:
        before = await revisions(running)
        running.write_rules(BURST)
        after = {(await reload(running, "?confirm_within=3s")).body["revision"]}
        asked = await running.process.says(r'"pid": (\d+), "event": "rules_unconfirmed"')
        os.kill(int(asked[1]), signal.SIGKILL)
        assert await revisions(running, 1) == after
        await returns_to(running, before)
        await running.process.says("rules_returned")
        assert (await rules(running))["pinned"]["actor"] == "(deadline)"
    assert [line["action"] for line in audited(running)] == ["start", "reload", "return"]


@asynccontextmanager
async def _pair(folder: Path, redis: str, port: int) -> AsyncIterator[tuple[Gateway, Gateway]]:
    async with (
        fleet_member(folder / "a", port, redis, workers=2, rules=OLD) as first,
        fleet_member(folder / "b", port, redis, workers=2, rules=OLD) as second,
    ):

        async def know_each_other() -> bool:
            asked = [
                await each.call("GET", f"{ADMIN}/gateways", token=READ) for each in (first, second) for _ in "1234"
            ]
            return all(len(answer.body["gateways"]) == 2 for answer in asked)

        await eventually(know_each_other)
        yield first, second


@pytest.mark.untraced
async def test_the_fleet_takes_back_under_load_what_nobody_confirms_though_the_gateway_that_asked_died(
    tmp_path: Path,
) -> None:
    """Two gateways of two workers. The one that asked is killed, and returns when it starts again."""

    async def answer(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.send(OK)

    served: list[int] = []
    done = asyncio.Event()

    async def load(running: Gateway) -> None:
        async with Client.connect(running.public) as client:
            while not done.is_set():
                served.append((await client.ask(get("/v1/orders/7", "X-User-Id: alice"))).status)

    async with (
        redis_server() as redis,
        upstream(answer) as api,
        _pair(tmp_path, redis.url, api.port) as (first, second),
    ):
        before = await revisions(first)
        tasks = [asyncio.create_task(load(second)) for _ in range(4)]
        for each in (first, second):
            each.write_rules(OLD.replace("1/minute", "2/minute"))
        # A reload, confirmed; then a rollback by the checksum, since each gateway has numbers of its own.
        body = (await reload(first, "?fleet=true&confirm_within=1h")).body
        assert [each["status"] for each in body["gateways"].values()] == [200]
        body = (await confirm(first, "?fleet=true")).body
        assert [each["status"] for each in body["gateways"].values()] == [200]
        assert (await rules(second))["unconfirmed"] is None
        body = (await rollback(first, 1, "?fleet=true")).body
        assert [(each["status"], each["number"]) for each in body["gateways"].values()] == [(200, 1)]
        assert await revisions(first) == await revisions(second) == before
        # A reload, and its gateway dies before anybody confirms.
        body = (await reload(first, "?fleet=true&force=true&confirm_within=5s")).body
        assert await revisions(second) == {body["revision"]} != before
        first.process.kill()
        await first.process.ends()
        await returns_to(second, before)
        done.set()
        await asyncio.gather(*tasks)
        assert set(served) == {200}
        assert len(served) > 100
        async with fleet_member(tmp_path / "a", api.port, redis.url, workers=2, rules=None) as again:
            await returns_to(again, before)
            assert (await rules(again))["pinned"]["actor"] == "(deadline)"
    assert audited(second)[-1]["action"] == "return"
