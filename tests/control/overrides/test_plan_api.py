"""All overrides as one file: applied whole or not at all, recorded as one change, and against no other's change."""

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.control.audit.log_file import AuditLog
from tests.auth.keys import token
from tests.control.fleet import fleet_member
from tests.control.overrides.test_api import BASE, READ, WRITE, actions, override, put
from tests.control.running import Answer, Running, gateway, limit
from tests.redis_server import redis_server
from tests.waiting import eventually

CSV = "/api/v1/admin/overrides.csv"
HEADER = "user,effect,reason,expires_at"


def row(user: str, effect: str, seconds: float = 600, reason: str = "a test") -> str:
    return f"{user},{effect},{reason},{(datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()}"


async def apply(running: Running, rows: Iterable[str], query: str = "", *fields: str) -> Answer:
    body = "\n".join([HEADER, *rows]).encode()
    more = ["Content-Type: text/csv", *fields]
    return await running.call("PUT", f"{CSV}{query}", body, token=WRITE, fields=more)


async def dump(running: Running) -> tuple[str, str]:
    answer = await running.call("GET", CSV, token=READ)
    assert (answer.status, answer.type) == (200, "text/csv")
    return answer.body.decode(), answer.message.one(b"ETag").decode()


async def allowed(running: Running, *users: str) -> list[bool]:
    return [(await running.check(user, "order", 0))["allowed"] for user in users]


def counts(answer: Answer) -> list[int]:
    assert answer.status == 200, answer
    return [answer.body[name]["count"] for name in ("added", "removed", "changed")] + [answer.body["unchanged"]]


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_a_file_is_the_whole_truth_and_one_change(tmp_path: Path, shared: bool) -> None:
    async with redis_server() as redis:
        store = redis.url if shared else None
        async with gateway(limit("each", 5), store=store, control={"state": tmp_path}) as running:
            assert await put(running, "ana", override("block")) == 201
            assert await put(running, "bob", override("block")) == 201
            text, tag = await dump(running)
            again = await running.call("PUT", CSV, text.encode(), token=WRITE, fields=["Content-Type: text/csv"])
            assert (counts(again), again.message.one(b"ETag").decode()) == ([0, 0, 0, 2], tag)
            rows = [row("ana", "exempt"), row("cleo", "block"), row("dan", "block", -5)]
            dry = await apply(running, rows, "?dry_run=true")
            assert (counts(dry), dry.body["expired"], dry.body["dry_run"]) == ([1, 1, 1, 0], 1, True)
            assert await dump(running) == (text, tag)
            assert await allowed(running, "ana", "bob", "cleo") == [False, False, True]
            done = await apply(running, rows, "", f"If-Match: {tag}")
            assert counts(done) == [1, 1, 1, 0]
            assert await allowed(running, "ana", "bob", "cleo") == [True, True, False]
            assert (await dump(running))[1] == done.message.one(b"ETag").decode() != tag
            assert (await running.call("GET", f"{BASE}/bob", token=READ)).status == 404
            assert (await running.call("GET", f"{BASE}/ana", token=READ)).body["set_by"] == "ana"
            assert counts(await apply(running, [])) == [0, 2, 0, 0]
            assert await allowed(running, "ana", "bob", "cleo") == [True] * 3
    assert actions(tmp_path) == ["override.set"] * 2 + ["overrides.applied"] * 2
    first, last = AuditLog(tmp_path / "audit.jsonl").page(2, 10)
    assert first["before"] == {"overrides": 2}
    assert first["after"].pop("sha256")
    assert first["after"] == {"overrides": 2, "added": 1, "removed": 1, "changed": 1, "unchanged": 0}
    assert last["after"]["removed"] == 2
    assert "cleo" not in (tmp_path / "audit.jsonl").read_text()


async def test_what_is_wrong_has_its_place_and_changes_nothing(tmp_path: Path) -> None:
    async with gateway(limit("each", 5), control={"state": tmp_path}) as running:
        answer = await apply(running, [row("ana", "block"), row("bob", "blok"), row("", "block")])
        assert (answer.status, answer.body["detail"]) == (400, "the file has 2 errors; nothing was changed")
        assert [(each["line"], each["column"]) for each in answer.body["errors"]] == [(3, 5), (4, 1)]
        bad = await running.call("PUT", CSV, b"user\n\xe5\xff", token=WRITE, fields=["Content-Type: text/csv"])
        assert bad.body["errors"] == [
            {"line": 2, "column": 1, "detail": "byte 0xe5 is not UTF-8; save the file as UTF-8"}
        ]
        assert (await running.call("PUT", CSV, {}, token=WRITE)).status == 415
        assert (await apply(running, [], "?dryrun=true")).status == 400
        assert (await running.call("PUT", CSV, b"", token=READ, fields=["Content-Type: text/csv"])).status == 403
        assert (await running.call("GET", CSV, token=WRITE)).status == 403
        assert (await apply(running, [row("ana", "block", reason="x" * 34_000_000)])).status == 413
        assert (await dump(running))[0].count("\n") == 1
        assert await allowed(running, "ana") == [True]
    assert not (tmp_path / "overrides.json").exists()


async def test_a_file_that_was_compared_with_other_overrides_is_refused(tmp_path: Path) -> None:
    plane = {"state": tmp_path}
    async with redis_server() as redis, gateway(limit("each", 5), store=redis.url, control=plane) as running:
        tag = (await apply(running, [row("ana", "block")], "?dry_run=true")).message.one(b"ETag").decode()
        assert await put(running, "bob", override("block")) == 201
        answer = await apply(running, [row("ana", "block")], "", f"If-Match: {tag}")
        assert (answer.status, "make another dry run" in answer.body["detail"]) == (412, True)
        assert await allowed(running, "ana", "bob") == [True, False]
    assert actions(tmp_path) == ["override.set"]


async def test_of_files_and_overrides_that_come_at_once_each_is_in_force_whole_or_not_at_all(tmp_path: Path) -> None:
    async with (
        redis_server() as redis,
        gateway(limit("each", 5), store=redis.url, control={"state": tmp_path / "a"}) as first,
        gateway(limit("each", 5), store=redis.url, control={"state": tmp_path / "b"}) as second,
    ):

        async def replace(running: Running, name: str) -> int:
            return (await apply(running, [row(f"{name}-{number}", "block") for number in range(700)])).status

        names = "abcdefgh"
        statuses = await asyncio.gather(
            *map(replace, [first, second] * 4, names),
            *(put(running, "zoe", override("block")) for running in (first, second)),
        )
        assert {*statuses[:8]} <= {200, 409}
        assert {*statuses[8:]} <= {200, 201}
        text, _ = await dump(first)
        users = [line.split(",")[0] for line in text.splitlines()[1:]]
        found = {user[0] for user in users if user != "zoe"}
        assert len(found) <= 1
        assert len(users) - ("zoe" in users) == 700 * len(found)
        assert found <= {name for name, status in zip(names, statuses, strict=False) if status == 200}
        assert await dump(second) == await dump(first)
        async with Redis(port=redis.port, protocol=2) as direct:
            assert not [key for key in await direct.keys("*") if b"old:" in key]


async def test_a_file_that_cannot_be_recorded_or_stored_is_not_in_force(tmp_path: Path) -> None:
    plane = {"state": tmp_path}
    async with redis_server() as redis, gateway(limit("each", 5), store=redis.url, control=plane) as running:
        (tmp_path / "audit.jsonl").mkdir()
        assert (await apply(running, [row("ana", "block")])).status == 503
        assert await allowed(running, "ana") == [True]
        (tmp_path / "audit.jsonl").rmdir()
        redis.kill()
        assert (await apply(running, [row("ana", "block")])).status == 503
        assert (await running.call("GET", CSV, token=READ)).status == 503
        assert await allowed(running, "ana") == [True]


async def test_overrides_that_expire_together_are_one_line_of_the_audit_log(tmp_path: Path) -> None:
    async with gateway(limit("each", 5), control={"state": tmp_path}) as running:
        assert counts(await apply(running, [row(f"user{number}", "block", 2) for number in range(30)]))[0] == 30

        async def is_recorded() -> bool:
            return "overrides.expired" in actions(tmp_path)

        await eventually(is_recorded)
        assert await allowed(running, "user7") == [True]
    assert actions(tmp_path) == ["overrides.applied", "overrides.expired"]
    assert AuditLog(tmp_path / "audit.jsonl").page(1, 1)[0]["before"] == {"overrides": 30}


async def test_an_unreadable_override_is_not_left_out_of_a_file(tmp_path: Path) -> None:
    plane = {"state": tmp_path}
    async with redis_server() as redis, gateway(limit("each", 5), store=redis.url, control=plane) as running:
        assert await put(running, "ana", override("block")) == 201
        for text in ('{"user":"bob","effect":"new"}', "{"):
            async with Redis(port=redis.port, protocol=2) as client:
                await client.hset("gateway:overrides", "f" * 32, text)
                await client.hincrby("gateway:overrides", "generation", 1)
            answer = await running.call("GET", CSV, token=READ)
            assert (answer.status, "newer version" in answer.body["detail"]) == (503, True)
        page = (await running.call("GET", BASE, token=READ)).body
        assert [each["user"] for each in page["overrides"]] == ["ana"]


@pytest.mark.untraced
async def test_a_large_file_is_in_force_in_every_worker(tmp_path: Path) -> None:
    """And after a restart without Redis, from the copy."""
    rows = [row(f"user{number}", "block") for number in range(5000)]
    async with redis_server() as redis:
        async with fleet_member(tmp_path, 9, redis.url, workers=2) as running:
            assert counts(await apply(running, rows)) == [5000, 0, 0, 0]

            async def are_blocked() -> bool:
                """Of many connections, so that every worker is asked."""
                asked: Any = await asyncio.gather(*(running.check("user4999", "order", 0) for _ in range(16)))
                return not any(each["allowed"] for each in asked)

            await eventually(are_blocked)
            body = json.dumps({"user_id": "user5000", "endpoint": "order", "weight": 0}).encode()
            answer = await running.call("POST", "/api/v1/check-limit", body, token=token("check"))
            assert answer.body["allowed"]
        redis.kill()
        async with fleet_member(tmp_path, 9, redis.url, workers=2, rules=None) as running:
            assert await allowed(running, "user0", "user4999", "user5000") == [False, False, True]
