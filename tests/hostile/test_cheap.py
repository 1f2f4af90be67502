"""Refusals are cheap, and alike: a flood neither fills memory nor slows others down, and tells nobody who is known."""

import random
from statistics import median
from time import process_time

import pytest

from gateway.limiter.memory import MemoryLimiter
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.redis.clock import StoreClock
from tests.proxy.running import proxy
from tests.wire import Client, get, says, upstream

SLOW = Rate(1, 86_400)
FLOOD = 6_000
MOST_KEYS = 1_000
SHARE = 10.0
"""Times the wait alone that a well-behaved user may wait during a flood, and not less than `FLOOR`; in CPU time of this
process, in which all that is waited for happens: the machine's mood is no part of it."""

FLOOR = 0.05


def limited(burst: int) -> Limit:
    return Limit("each", ("user",), Quota(SLOW, burst))


def user(name: str) -> bytes:
    return get("/", f"X-User-Id: {name}")


def invented(kind: str, n: int) -> bytes:
    """A request of a caller that never was before."""
    who = f"X-User-Id: made-up-{n}" if kind == "users" else f"X-Forwarded-For: 198.18.{n // 250}.{n % 250}"
    return get("/flood", who)


@pytest.mark.untraced
@pytest.mark.parametrize("refused", [False, True], ids=["let through", "refused"])
@pytest.mark.parametrize("kind", ["users", "addresses"])
async def test_a_flood_of_invented_callers_fills_no_memory_and_slows_nobody_down(kind: str, refused: bool) -> None:
    limiter = MemoryLimiter(MOST_KEYS, StoreClock())
    total = Limit("flood", ("endpoint",), Quota(SLOW, 1), endpoints=frozenset({"flood"}))
    limits = [limited(20_000), *([total] if refused else [])]
    endpoints = [Endpoint("flood", Template.parse("/flood"))]
    async with (
        upstream() as up,
        proxy(up.port, limits=limits, endpoints=endpoints, limiter=limiter) as running,
        Client.connect(running.port) as good,
        Client.connect(running.port) as bad,
    ):

        async def wait() -> float:
            began = process_time()
            assert (await good.ask(user("good"))).status == 200
            return process_time() - began

        alone = median([await wait() for _ in range(200)])
        waits, statuses = [], set()
        for start in range(0, FLOOD, 100):
            await bad.send(b"".join(invented(kind, n) for n in range(start, start + 100)))
            waits.append(await wait())
            statuses |= {(await bad.answer()).status for _ in range(100)}
    assert 429 in statuses if refused else statuses == {200}
    # A refused request leaves no bucket behind; those of the others are as many as there is room for.
    assert limiter.held <= (4 if refused else MOST_KEYS)
    assert median(waits) < max(SHARE * alone, FLOOR), (alone, median(waits))


async def test_a_refusal_tells_by_no_byte_whether_the_user_is_known() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited(1)]) as running:
        seen = set()
        for name in ("alice", "bob", "x" * 4_000, "%00", "\xe9"):
            async with Client.connect(running.port) as client:
                assert (await client.ask(user(name))).status == 200
                answer = await client.ask(user(name))
                seen.add(answer.raw_head + answer.body)
        assert len(seen) == 1
        assert seen.pop().startswith(b"HTTP/1.1 429 ")


def differ(first: list[float], second: list[float]) -> float:
    """How sure one can be that one of two kinds is slower: the z of a rank-sum test (Mann and Whitney)."""
    ranked = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks = sum(rank for rank, (_, kind) in enumerate(ranked, 1) if kind == 0)
    one, two = len(first), len(second)
    mean = one * (one + two + 1) / 2
    return float(abs(ranks - mean) / (one * two * (one + two + 1) / 12) ** 0.5)


def test_the_timing_test_can_fail() -> None:
    dice = random.Random(7)
    quick = [dice.gauss(1.0, 0.1) for _ in range(1_000)]
    slow = [dice.gauss(1.03, 0.1) for _ in range(1_000)]
    assert differ(quick, slow) > 4.0
    assert differ(quick, [dice.gauss(1.0, 0.1) for _ in range(1_000)]) < 4.0


@pytest.mark.untraced
async def test_a_refusal_takes_the_same_time_for_a_known_user_and_an_invented_one() -> None:
    """Both are over their limit; one has been seen for long, the others have just been made up."""
    async with (
        upstream(says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as up,
        proxy(up.port, limits=[limited(1)]) as running,
        Client.connect(running.port) as client,
    ):
        strangers = [f"stranger-{n:05}" for n in range(1_500)]
        for name in ["acquainted-00", *strangers]:
            assert (await client.ask(user(name))).status == 200
        known: list[float] = []
        unknown: list[float] = []
        for name in strangers:
            for who, times in random.sample([("acquainted-00", known), (name, unknown)], 2):
                began = process_time()
                assert (await client.ask(user(who))).status == 429
                times.append(process_time() - began)
    gap = abs(median(known) - median(unknown))
    # A gap that a client could see over a network, and that is no accident.
    assert gap < 0.001 or differ(known, unknown) < 4.0, (median(known), median(unknown))
    assert gap < 0.2 * median(known)


async def test_names_that_clients_invent_are_in_no_label() -> None:
    async with upstream() as up, proxy(up.port, limits=[limited(5)]) as running:
        async with Client.connect(running.port) as client:
            for n in range(50):
                await client.ask(get(f"/made-up/{n}", f"X-User-Id: u{n}", f"X-Made-Up-{n}: x", method="SEARCH"))
        assert {endpoint for endpoint, _, _ in running.seen.fates} == {"default"}
        assert running.seen.causes == []
