"""Callers' own rates decide the same in memory and in Redis, also on a bucket that callers with several rates share."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.claimed_rate import ClaimedRate
from gateway.limits.limit import Limit, Missing
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from tests.kit.identity import make_identity
from tests.redis.builders import limiter
from tests.redis_server import redis_server

IDENTITY = make_identity(hash_key=b"k" * 16)
DAY = 86_400
CLAIMED = ClaimedRate("daily", Rate(8, DAY))
RULES = Rules(
    limits=[
        Limit("each", ("user",), Quota(Rate(2, DAY), 2), from_claim=CLAIMED),
        Limit("org", ("org",), Quota(Rate(4, DAY), 4), from_claim=CLAIMED, if_missing=Missing.SKIP),
    ]
)
BURSTS = {None: 2, "1": 1, "5": 5, "8": 8, "9": 8, "-1": 2, "1.5": 2}

Made = Sequence[tuple[str, str | None]]


async def play(url: str | None, made: Made) -> list[bool]:
    """Whether requests pass that are made at once, by users of one organization with these claims."""
    demands = []
    for user, daily in made:
        attributes = {"org": "acme"} | ({} if daily is None else {"daily": daily})
        caller = IDENTITY.user(user, attributes=attributes, holders=RULES.holders)
        demands.append(RULES.demands(RULES.default, caller))
    async with limiter(url) as opened:
        await opened.reset([one.key for each in demands for one in each])
        return [(await opened.check(each)).allowed for each in demands]


def test_memory_and_redis_agree_and_nobody_has_more_than_their_own_burst() -> None:
    with asyncio.Runner() as runner:
        serving = redis_server()
        redis = runner.run(serving.__aenter__())

        @settings(max_examples=40, deadline=None)
        @given(st.lists(st.tuples(st.sampled_from(["ana", "bob"]), st.sampled_from([*BURSTS])), max_size=25))
        def agree(made: Made) -> None:
            found = runner.run(play(None, made))
            assert found == runner.run(play(redis.url, made))
            spent = {"ana": 0, "bob": 0}
            for (user, daily), passed in zip(made, found, strict=True):
                own = BURSTS[daily]
                of_org = 4 if own == 2 else own
                assert passed is (spent[user] < own and sum(spent.values()) < of_org)
                spent[user] += passed

        try:
            agree()
        finally:
            runner.run(serving.__aexit__(None, None, None))
