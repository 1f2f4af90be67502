"""A candidate and a share of callers decide the same from memory and in Redis, and leave the denial cache alone."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.bucket import Quota
from gateway.limits.limit import Candidate, Limit
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from tests.kit.identity import make_identity
from tests.redis.builders import limiter
from tests.redis_server import redis_server

USERS = [make_identity(hash_key=b"k" * 16).user(f"user-{number}") for number in range(6)]


async def play(url: str | None, limits: Sequence[Limit], made: Sequence[int]) -> list[tuple[bool, tuple[int, ...]]]:
    """What becomes of the users' requests, which are made at once, so that nothing refills."""
    rules = Rules(limits=limits)
    async with limiter(url) as opened:
        demands = [rules.demands(rules.default, USERS[user]) for user in made]
        await opened.reset([key for each in demands for key, _ in each])
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
