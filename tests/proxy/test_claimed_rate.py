"""A user's own rate comes from what the identity source has verified, and only from there."""

from gateway.limits.claimed_rate import ClaimedRate, Unusable
from gateway.limits.identity_source import TrustedHeader
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from tests.kit.identity import make_identity
from tests.proxy.running import proxy
from tests.wire import ask, get, upstream

LIMIT = Limit("plan", ("user",), Quota(Rate(2, 86_400), 2), from_claim=ClaimedRate("daily", Rate(4, 86_400)))


async def test_a_trusted_header_gives_a_user_another_rate_and_a_bad_one_is_reported() -> None:
    identity = make_identity([TrustedHeader("X-User-Id", attributes={"daily": "X-Daily"})])
    async with upstream() as up, proxy(up.port, limits=[LIMIT], identity=identity) as running:

        async def statuses(user: str, *headers: str) -> list[int]:
            return [(await ask(running.port, get("/", f"X-User-Id: {user}", *headers))).status for _ in range(5)]

        assert await statuses("ana", "X-Daily: 3") == [200] * 3 + [429] * 2
        assert running.seen.claims == []
        assert await statuses("bob", "X-Daily: 300") == [200] * 4 + [429]
        assert await statuses("cleo", "X-Daily: -3") == [200] * 2 + [429] * 3
        assert await statuses("dan") == [200] * 2 + [429] * 3
        assert [each.reason for each in running.seen.claims] == (
            [Unusable.ABOVE_MOST] * 5 + [Unusable.INVALID] * 5 + [Unusable.MISSING] * 5
        )


async def test_a_stranger_states_no_rate() -> None:
    identity = make_identity([TrustedHeader("X-User-Id", attributes={"daily": "X-Daily"})], trusted_proxies=())
    async with upstream() as up, proxy(up.port, limits=[LIMIT], identity=identity) as running:
        sent = get("/", "X-User-Id: ana", "X-Daily: 4")
        assert [(await ask(running.port, sent)).status for _ in range(3)] == [200, 200, 429]
        assert running.seen.claims == []  # nobody is identified
