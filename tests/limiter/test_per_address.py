"""Limits per address, per user, per endpoint and of all together: one check, whichever store keeps the buckets."""

from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from redis import Redis

from gateway.limiter.limiter import Limiter
from gateway.limits.address import group
from gateway.limits.bucket import State, judge, take
from gateway.limits.charge import Demand
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.identity import Identity
from gateway.limits.identity_source import Sender, TrustedHeader
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.redis.scripts import call_take
from tests.redis.builders import limiter
from tests.redis.clusters import redis_cluster
from tests.redis_server import redis_server

ENDPOINTS = [Endpoint(name, Template.parse(f"/{name}")) for name in ("login", "orders")]
IDENTITY = Identity((TrustedHeader("X-User-Id"),), (), b"secret")
ADDRESSES = ["192.0.2.1", "192.0.2.2", "64:ff9b::192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]


def rules(*bursts: int) -> Rules:
    """A limit for each way to share a bucket. Nothing refills while a test runs."""
    ways = [("user",), ("address",), ("address", "endpoint"), ("endpoint",), ()]
    quotas = [Quota(Rate(1, 86_400), burst) for burst in bursts]
    return Rules(
        ENDPOINTS, [Limit("-".join(way) or "all", way, quota) for way, quota in zip(ways, quotas, strict=True)]
    )


def demands(book: Rules, user: str, address: str, endpoint: Endpoint) -> Sequence[Demand]:
    headers = CIMultiDict({"X-User-Id": user} if user else {})
    caller = IDENTITY.identify(Sender(ip_address(address), trusted=True, headers=headers), book.holders)
    return book.demands(endpoint, caller)


class Model:
    """What is spent, counted in the plainest way."""

    def __init__(self, *bursts: int) -> None:
        self.bursts = bursts
        self.spent: Counter[object] = Counter()

    def admits(self, user: str, address: str, endpoint: Endpoint) -> bool:
        place = group(ip_address(address))
        holders = [user or place, place, (place, endpoint.name), endpoint.name, "all"]
        buckets = [*enumerate(holders)]
        if any(self.spent[bucket] >= burst for bucket, burst in zip(buckets, self.bursts, strict=True)):
            return False
        self.spent.update(buckets)
        return True


bursts = st.tuples(*[st.integers(1, 6)] * 5)
requests = st.lists(
    st.tuples(st.sampled_from(["", "ana", "bob"]), st.sampled_from(ADDRESSES), st.sampled_from(ENDPOINTS)), max_size=40
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bursts=bursts, requests=requests)
def test_a_request_pays_every_bucket_of_its_user_address_and_endpoint_and_that_of_all_or_none(
    redis: "Redis", bursts: tuple[int, ...], requests: list[tuple[str, str, Endpoint]]
) -> None:
    """In memory and in Redis alike; an IPv6 /64 is one address, and a translated IPv4 address is that address."""
    redis.flushall()
    book, model = rules(*bursts), Model(*bursts)
    states: dict[bytes, State] = {}
    for request in requests:
        check = demands(book, *request)
        assert len({each.key for each in check}) == len(bursts)
        call = call_take(b"", [check], 0)
        reply = redis.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
        assert isinstance(reply, list)
        now, *owed = reply
        decision, new = take(check, [states.get(each.key) for each in check], now)
        states |= {each.key: state for each, state in zip(check, new, strict=True) if state is not None}
        assert judge(check, owed, now) == decision
        assert decision.allowed == model.admits(*request)


async def spend(opened: Limiter, book: Rules, *requests: tuple[str, str]) -> list[bool]:
    return [(await opened.check(demands(book, *each, ENDPOINTS[0]))).allowed for each in requests]


FOUR_USERS = [(user, "2001:db8::7") for user in ("ana", "bob", "cleo", "dan")]


async def test_users_of_one_address_share_its_bucket_in_memory_and_while_redis_is_unavailable() -> None:
    book = rules(9, 3, 9, 99, 99)
    async with limiter(None) as opened:
        assert await spend(opened, book, *FOUR_USERS) == [True, True, True, False]
    async with redis_server() as server, limiter(server.url) as opened:
        assert await spend(opened, book, *FOUR_USERS[:2]) == [True, True]
        server.kill()
        assert await spend(opened, book, *FOUR_USERS) == [True, False, False, False]  # what was spent is known


async def test_what_an_address_cannot_pay_costs_its_user_nothing_in_a_cluster() -> None:
    book = rules(3, 1, 9, 99, 4)
    async with redis_cluster() as nodes, limiter(nodes[0].url.replace("redis:", "redis+cluster:")) as opened:
        assert await spend(opened, book, *[("ana", "192.0.2.1")] * 4) == [True, False, False, False]
        assert await spend(opened, book, ("bob", "64:ff9b::192.0.2.1")) == [False]
        others = [("ana", f"198.51.100.{number}") for number in range(3)]
        assert await spend(opened, book, *others) == [True, True, False]
        assert await spend(opened, book, ("cleo", "203.0.113.1"), ("dan", "203.0.113.2")) == [True, False]
