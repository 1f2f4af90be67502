"""The usage of a user lists every bucket that can refuse him, with the quotas of the tier in which he was seen last."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.control.reload.worker_channel import Message, Workers
from gateway.control.tiers import SeenTiers
from gateway.limits.caller import Caller
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from tests.auth.keys import token
from tests.control.running import Running, gateway, limit
from tests.wire import ask, get, upstream

READ = token("limits:read")
GOLD = {"gold": Quota(Rate(1, 86_400), 8), "silver": Quota(Rate(1, 86_400), 6)}
LIMITS = (
    limit("each", 4, tiers=GOLD),
    limit("each-create", 9, per=("user", "endpoint"), endpoints=frozenset({"create"})),
    limit("orders", 20, per=("endpoint",)),
    limit("everyone", 50, per=()),
    limit("place", 7, per=("address",)),
)


async def usage(running: Running, target: str = "ana") -> Any:
    answer = await running.call("GET", f"/api/v1/admin/usage/{target}", token=READ)
    assert answer.status == 200, answer
    return answer.body


def left(document: Any) -> dict[tuple[str, str | None, bool], tuple[int, int]]:
    return {
        (each["limit"], each["endpoint"], each["shared"]): (each["remaining"], each["burst"])
        for each in document["buckets"]
    }


async def test_shared_buckets_are_listed_and_the_tier_is_the_one_seen_last(tmp_path: Path) -> None:
    async with upstream() as api, gateway(*LIMITS, upstream=api.port, control={"state": tmp_path}) as running:

        async def request(*fields: str) -> None:
            assert (await ask(running.public, get("/v1/orders/7", "X-User-Id: ana", *fields))).status == 200

        before = await usage(running)
        assert before["tier"] is None
        assert left(before) == {
            ("each", None, False): (4, 4),
            ("each-create", "create", False): (9, 9),
            ("orders", "order", True): (20, 20),
            ("orders", "create", True): (20, 20),
            ("orders", "default", True): (20, 20),
            ("everyone", None, True): (50, 50),
        }
        await request("X-User-Tier: gold")
        seen = await usage(running)
        assert seen["tier"] == "gold"
        assert left(seen)["each", None, False] == (7, 8)
        assert left(seen)["orders", "order", True] == (19, 20)
        assert left(seen)["everyone", None, True] == (49, 50)
        asked = await usage(running, "ana?tier=silver")
        assert (asked["tier"], left(asked)["each", None, False]) == ("silver", (5, 6))
        await request("X-User-Tier: silver")
        assert (await usage(running))["tier"] == "silver"
        await request()
        assert (await usage(running))["tier"] is None
        assert (await usage(running, "bob"))["tier"] is None


async def test_a_client_has_shared_buckets_and_a_reset_leaves_them_alone(tmp_path: Path) -> None:
    async with upstream() as api, gateway(*LIMITS, upstream=api.port, control={"state": tmp_path}) as running:
        await ask(running.public, get("/v1/orders/7", "X-User-Id: ana"))
        assert left(await usage(running, "address/127.0.0.1"))["everyone", None, True] == (49, 50)
        answer = await running.call("POST", "/api/v1/admin/reset/ana", token=token("limits:write"))
        assert answer.body == {"user": "ana", "buckets": 2}
        after = left(await usage(running))
        assert (after["each", None, False], after["everyone", None, True]) == ((4, 4), (49, 50))


def caller(user: str, tier: str | None) -> Caller:
    return Caller(user, user.encode(), tier)


async def other(_message: Message) -> Message:
    return {}


async def test_workers_ask_each_other_and_the_latest_sighting_counts(tmp_path: Path) -> None:
    workers = [Workers(tmp_path, number, 3) for number in range(3)]
    first, second, _ = (SeenTiers(each) for each in workers)
    async with AsyncExitStack() as stack:
        for each in workers:
            await stack.enter_async_context(each.listening(other))
        first.note(caller("ana", "gold"))
        assert await second.last(b"ana") == "gold"
        second.note(caller("ana", "silver"))
        assert [await each.last(b"ana") for each in (first, second)] == ["silver", "silver"]
        first.note(caller("ana", "gold"))
        assert [await each.last(b"ana") for each in (first, second)] == ["gold", "gold"]
        assert await first.last(b"bob") is None


async def test_a_worker_that_does_not_reply_does_not_keep_usage_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.control.tiers._TIMEOUT", 0.05)
    workers = [Workers(tmp_path, number, 2) for number in range(2)]
    tiers = SeenTiers(workers[0])
    gone = asyncio.Event()

    async def mute(_message: Message) -> Message:
        await gone.wait()
        return {}

    async with workers[1].listening(mute):
        tiers.note(caller("ana", "gold"))
        assert await tiers.last(b"ana") == "gold"
        gone.set()


async def test_a_bounded_number_of_users_is_remembered_those_seen_lately(tmp_path: Path) -> None:
    tiers = SeenTiers(Workers(tmp_path, 0, 1), most=10)
    tiers.note(caller("never", None))
    for number in range(100):
        tiers.note(caller(f"user-{number}", "gold"))
        tiers.note(caller("ana", "gold"))
    tiers.note(caller("long", "x" * 1000))
    known = [number for number in range(100) if await tiers.last(f"user-{number}".encode())]
    assert 8 <= len(known) <= 20
    assert known == list(range(100 - len(known), 100))
    assert await tiers.last(b"ana") == "gold"
    assert await tiers.last(b"long") is None
