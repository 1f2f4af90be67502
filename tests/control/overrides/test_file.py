"""The file of overrides: whole, its owner's, and no longer believed once Redis answers."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.control.overrides.file import OverrideFile
from gateway.control.overrides.store import NONE, Version
from tests.auth.keys import token
from tests.control.fleet import fleet_member
from tests.control.running import Running, gateway, limit
from tests.redis_server import RedisServer, redis_server
from tests.waiting import eventually

BASE = "/api/v1/admin/overrides"
BOTH = token("limits:write limits:read")
COPY = "overrides-known.json"
DIGEST = 32
DAMAGED = (b"", b"{", b"\xff", b"[]", b'{"a": 1}', b'{"a": "x", "a": "y"}', b"[" * 100_000)


async def block(running: Running, user: str, seconds: float = 600) -> datetime:
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    body = {"effect": "block", "reason": "a test", "expires_at": end.isoformat()}
    assert (await running.call("PUT", f"{BASE}/{user}", body, token=BOTH)).status == 201
    return end


async def passes(running: Running, user: str) -> bool:
    return bool((await running.check(user, "order"))["allowed"])


async def in_redis(redis: RedisServer) -> dict[str, str]:
    async with Redis(port=redis.port, protocol=2, decode_responses=True) as client:
        found = await client.hgetall("gateway:overrides")
    return {str(digest): str(text) for digest, text in found.items() if len(digest) == DIGEST}


def as_text(overrides: dict[bytes, bytes]) -> dict[str, str]:
    return {digest.decode(): text.decode() for digest, text in overrides.items()}


def test_what_was_written_is_read_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = OverrideFile(tmp_path / "state" / "overrides.json")
    assert file.read() == {}
    assert file.version() == NONE
    for version, texts in ((Version(7, 1), {b"1f": '{"user":"å"}'.encode(), b"2f": b"{}"}), (Version(7, 2), {})):
        file.write(version, texts)
        assert file.read() == texts
        assert file.version() == version
        assert file.file.stat().st_mode & 0o777 == 0o600
    assert list(file.file.parent.iterdir()) == [file.file]
    file.file.write_bytes(b"{")
    assert file.version() is None
    assert OverrideFile(tmp_path).version() is None


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_an_error_that_quotes_nothing(content: bytes, tmp_path: Path) -> None:
    file = OverrideFile(tmp_path / "overrides.json")
    file.file.write_bytes(content)
    with pytest.raises(ValueError, match=r"^(not |a number|an object|a string|NaN)") as error:
        file.read()
    assert '"' not in str(error.value)


async def test_a_block_outlives_a_restart_while_redis_is_unavailable_but_not_what_redis_holds(tmp_path: Path) -> None:
    plane = {"state": tmp_path}
    async with redis_server() as redis:
        async with gateway(limit("each", 5), store=redis.url, control=plane) as running:
            await block(running, "alice")
        redis.kill()
        async with gateway(limit("each", 50), store=redis.url, control=plane) as running:
            assert not await passes(running, "alice")
            assert await passes(running, "bob")
            assert (await running.call("GET", f"{BASE}/alice", token=BOTH)).status == 200
            assert (await running.call("DELETE", f"{BASE}/alice", token=BOTH)).status == 503
            assert not await passes(running, "alice")
            await redis.start()  # and knows of no override
            await eventually(lambda: passes(running, "alice"))
            assert await in_redis(redis) == {}
        redis.kill()
        async with gateway(limit("each", 50), store=redis.url, control=plane) as running:
            assert await passes(running, "alice")


async def test_a_block_that_outlived_a_restart_ends_when_it_expires(tmp_path: Path) -> None:
    plane = {"state": tmp_path}
    async with redis_server() as redis:
        async with gateway(limit("each", 5), store=redis.url, control=plane) as running:
            end = await block(running, "alice", 4)
            await block(running, "bob")
        redis.kill()
        async with gateway(limit("each", 500), store=redis.url, control=plane) as running:
            assert not await passes(running, "alice") or datetime.now(UTC) >= end
            await eventually(lambda: passes(running, "alice"))
            assert datetime.now(UTC) >= end
            assert not await passes(running, "bob")


async def test_a_damaged_copy_is_logged_ignored_and_replaced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / COPY
    async with redis_server() as redis:
        redis.kill()
        copy.write_bytes(b'{"1f": "alice-the-secret')
        async with gateway(limit("each", 500), store=redis.url, control={"state": tmp_path}) as running:
            assert await passes(running, "alice")
            await redis.start()
            await eventually(lambda: asyncio.to_thread(lambda: OverrideFile(copy).version() == NONE))
            await block(running, "alice")
            assert as_text(OverrideFile(copy).read()) == await in_redis(redis)
    said = capfd.readouterr().err
    assert said.count("overrides_copy_unreadable") == 1
    assert "alice-the-secret" not in said


async def test_a_copy_that_cannot_be_written_is_logged_and_keeps_no_override_from_being_in_force(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / COPY).mkdir()
    plane = {"state": tmp_path}
    async with redis_server() as redis, gateway(limit("each", 5), store=redis.url, control=plane) as running:
        await block(running, "alice")
        assert not await passes(running, "alice")
    assert "overrides_copy_failed" in capfd.readouterr().err


async def test_workers_that_write_at_once_leave_what_redis_holds(tmp_path: Path) -> None:
    async with redis_server() as redis:
        async with fleet_member(tmp_path, 9, redis.url, workers=3) as running:
            await asyncio.gather(*(block(running, f"user{number}") for number in range(40)))
            held = await in_redis(redis)
            assert len(held) == 40
            copy = OverrideFile(tmp_path / "state" / COPY)

            async def is_the_same() -> bool:
                return as_text(copy.read()) == held

            await eventually(is_the_same)
        redis.kill()
        async with fleet_member(tmp_path, 9, redis.url, workers=3, rules=None) as running:
            assert not any(await asyncio.gather(*(passes(running, f"user{number}") for number in range(40))))
