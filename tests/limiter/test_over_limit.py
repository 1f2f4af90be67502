"""A limit that tells never refuses, and counts the same in memory, in Redis and while Redis is unavailable."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limiter.verdict import OverLimits
from gateway.limits.limit import Limit, Over
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from tests.kit.identity import make_identity
from tests.redis.builders import limiter
from tests.redis_server import redis_server
from tests.waiting import DEADLINE

IDENTITY = make_identity(hash_key=b"k" * 16)
USERS = [IDENTITY.user(name) for name in ("ana", "bob")]


def limit(name: str, burst: int, over: Over = Over.TELL) -> Limit:
    return Limit(name, ("user",), Quota(Rate(1, 86_400), burst), over=over)


async def play(
    url: str | None, limits: Sequence[Limit], made: Sequence[int]
) -> list[tuple[bool, list[str], list[str]]]:
    """Of the users' requests, which are made at once: whether they pass, which limits tell, and which refuse."""
    rules = Rules(limits=limits)
    async with limiter(url) as opened:
        demands = [rules.demands(rules.default, USERS[user]) for user in made]
        await opened.reset([one.key for each in demands for one in each])
        verdicts = [await opened.check(each) for each in demands]
    over = [OverLimits(each, verdict.decision.refused) for each, verdict in zip(demands, verdicts, strict=True)]
    return [(verdict.allowed, each.told, each.refusing) for verdict, each in zip(verdicts, over, strict=True)]


def expect(soft: int, hard: int, made: Sequence[int]) -> list[tuple[bool, bool]]:
    """Whether each request passes and, of those that do, whether the upstream is told."""
    passed, paid = [0, 0], [0, 0]
    found = []
    for user in made:
        passes = passed[user] < hard
        tells = passes and paid[user] >= soft
        passed[user] += passes
        paid[user] += passes and not tells
        found.append((passes, tells))
    return found


def test_each_store_tells_when_the_bucket_is_empty_and_charges_it_only_for_what_passes() -> None:
    with asyncio.Runner() as runner:
        serving = redis_server()
        redis = runner.run(serving.__aenter__())

        @settings(max_examples=30, deadline=None)
        @given(st.integers(1, 5), st.integers(1, 8), st.lists(st.integers(0, 1), max_size=25))
        def agree(soft: int, hard: int, made: list[int]) -> None:
            limits = (limit("soft", soft), limit("hard", hard, Over.REFUSE))
            for url in (None, redis.url):
                found = runner.run(play(url, limits, made))
                assert [(passes, passes and told == ["soft"]) for passes, told, _ in found] == expect(soft, hard, made)
                assert all(refusing == ([] if passes else ["hard"]) for passes, _, refusing in found)
                alone = runner.run(play(url, limits[:1], made))
                assert [(passes, told == ["soft"]) for passes, told, _ in alone] == expect(soft, 99, made)

        try:
            agree()
        finally:
            runner.run(serving.__aexit__(None, None, None))


async def test_it_tells_and_refuses_nobody_while_redis_is_unavailable() -> None:
    rules = Rules(limits=[limit("soft", 8)])
    demands, others = (rules.demands(rules.default, user) for user in USERS)
    async with redis_server() as redis, limiter(redis.url) as opened:
        assert (await opened.check(demands)).allowed
        redis.kill()
        async with asyncio.timeout(DEADLINE):
            while not opened.is_degraded:
                await opened.check(others)
        verdicts = [await opened.check(demands) for _ in range(9)]
    assert all(each.allowed and each.degraded for each in verdicts)
    told = [OverLimits(demands, each.decision.refused).told for each in verdicts]
    assert told == [[]] * 7 + [["soft"]] * 2
