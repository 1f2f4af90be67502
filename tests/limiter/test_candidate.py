"""A candidate and a share of callers decide the same from memory and in Redis, and leave the denial cache alone."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limiter.verdict import Outcome
from gateway.limits.limit import Candidate, Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from tests.kit.identity import make_identity
from tests.redis.builders import limiter
from tests.redis_server import redis_server
from tests.waiting import DEADLINE

USERS = [make_identity(hash_key=b"k" * 16).user(f"user-{number}") for number in range(6)]


async def play(url: str | None, limits: Sequence[Limit], made: Sequence[int]) -> list[tuple[bool, tuple[int, ...]]]:
    """What becomes of the users' requests, which are made at once, so that nothing refills."""
    rules = Rules(limits=limits)
    async with limiter(url) as opened:
        demands = [rules.demands(rules.default, USERS[user]) for user in made]
        await opened.reset([one.key for each in demands for one in each])
        verdicts = [await opened.check(each) for each in demands]
    return [(each.allowed, each.decision.refused) for each in verdicts]


def test_memory_and_redis_agree_and_a_candidate_changes_no_decision() -> None:
    with asyncio.Runner() as runner:
        serving = redis_server()
        redis = runner.run(serving.__aenter__())

        @settings(max_examples=30, deadline=None)
        @given(
            share=st.sampled_from([0.0, 0.3, 0.6, 1.0]),
            bursts=st.tuples(st.integers(1, 4), st.integers(1, 4)),
            made=st.lists(st.integers(0, 5), max_size=30),
        )
        def agree(share: float, bursts: tuple[int, int], made: list[int]) -> None:
            live, other = (Quota(Rate(1, 86_400), burst) for burst in bursts)
            plain = Limit("each", ("user",), live, enforce=share)
            tried = Limit("each", ("user",), live, enforce=share, candidate=Candidate(other))
            in_memory = runner.run(play(None, [tried], made))
            assert in_memory == runner.run(play(redis.url, [tried], made))
            alone = runner.run(play(None, [plain], made))
            assert [allowed for allowed, _ in in_memory] == [allowed for allowed, _ in alone]

        try:
            agree()
        finally:
            runner.run(serving.__aexit__(None, None, None))


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_an_empty_candidate_is_charged_no_more_and_never_refuses(share: float) -> None:
    candidate = Candidate(Quota(Rate(1, 86_400), 2))
    limit = Limit("each", ("user",), Quota(Rate(1, 86_400), 5), enforce=share, candidate=candidate)
    async with redis_server() as redis:
        found = await play(redis.url, [limit], [0] * 5)
    assert found == [(True, ()), (True, ()), (True, (1,)), (True, (1,)), (True, (1,))]


def candidate_of(live: int, candidate: int) -> Rules:
    day = Rate(1, 86_400)
    limit = Limit("each", ("user",), Quota(day, live), candidate=Candidate(Quota(day, candidate)))
    return Rules(limits=[limit])


async def test_an_empty_candidate_is_never_a_remembered_refusal() -> None:
    """Neither its own, nor for the limit: the denial cache has both buckets of a request, and one of them is empty."""
    rules = candidate_of(4, 1)
    demands = rules.demands(rules.default, USERS[0])
    async with redis_server() as redis, limiter(redis.url) as opened:
        verdicts = [await opened.check(demands) for _ in range(6)]
    assert [each.outcome for each in verdicts] == [Outcome.ALLOWED] * 4 + [Outcome.REFUSED] * 2
    assert [each.decision.refused for each in verdicts[:4]] == [(), (1,), (1,), (1,)]
    assert all(0 in each.decision.refused for each in verdicts[4:])


async def test_a_candidate_refuses_nobody_while_redis_is_unavailable() -> None:
    rules = candidate_of(8, 1)
    demands = rules.demands(rules.default, USERS[0])
    async with redis_server() as redis, limiter(redis.url) as opened:
        assert (await opened.check(demands)).allowed
        assert (await opened.check(demands)).decision.refused == (1,)
        redis.kill()
        async with asyncio.timeout(DEADLINE):
            while not opened.is_degraded:
                await opened.check(rules.demands(rules.default, USERS[1]))
        verdicts = [await opened.check(demands) for _ in range(7)]
    assert [each.outcome for each in verdicts] == [Outcome.ALLOWED] * 6 + [Outcome.REFUSED]
    assert all(each.degraded for each in verdicts)


@pytest.mark.parametrize("with_redis", [True, False])
async def test_a_reset_fills_both_buckets(*, with_redis: bool) -> None:
    rules = candidate_of(3, 2)
    demands = rules.demands(rules.default, USERS[0])
    async with redis_server() as redis, limiter(redis.url if with_redis else None) as opened:
        spent = [(await opened.check(demands)).decision.refused for _ in range(4)]
        assert spent[:3] == [(), (), (1,)]
        assert 0 in spent[3]
        await opened.reset([each.key for each in rules.demands(rules.default, USERS[0])])
        assert [(await opened.check(demands)).decision.refused for _ in range(3)] == [(), (), (1,)]
