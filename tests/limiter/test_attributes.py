"""Limits per organization, team, network and user: one check, all or nothing, whichever store keeps the buckets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from redis import Redis

from gateway.limiter.limiter import Limiter
from gateway.limits.address import as_ipv4, group
from gateway.limits.bucket import State, judge, take
from gateway.limits.charge import Demand
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.holder import Part, Prefixes
from gateway.limits.identity import Identity
from gateway.limits.identity_source import Sender, TrustedHeader
from gateway.limits.limit import Limit, Missing
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.redis.scripts import call_take
from tests.redis.builders import limiter
from tests.redis.clusters import redis_cluster
from tests.redis_server import redis_server

ENDPOINTS = [Endpoint(name, Template.parse(f"/{name}")) for name in ("login", "orders")]
HEADERS = {"user": "X-User-Id", "org": "X-Org", "team": "X-Team"}
IDENTITY = Identity((TrustedHeader("X-User-Id", attributes={"org": "X-Org", "team": "X-Team"}),), (), b"secret")
NETWORK = Prefixes(24, 48)
WAYS: list[tuple[Part, ...]] = [
    ("org",), ("org", "team"), ("team", "endpoint"), ("org", "user"), (NETWORK,), (NETWORK, "endpoint"), ("user",),
]  # fmt: skip
Request = tuple[Mapping[str, str], str, Endpoint]


def rules(bursts: Sequence[int], missing: Sequence[Missing]) -> Rules:
    """A limit for each way to share a bucket. Nothing refills while a test runs."""
    return Rules(
        ENDPOINTS,
        [
            Limit(f"limit-{place}", way, Quota(Rate(1, 86_400), burst), if_missing=each)
            for place, (way, burst, each) in enumerate(zip(WAYS, bursts, missing, strict=True))
        ],
    )


def demands(book: Rules, who: Mapping[str, str], address: str, endpoint: Endpoint) -> Sequence[Demand]:
    headers = CIMultiDict({HEADERS[name]: value for name, value in who.items()})
    caller = IDENTITY.identify(Sender(ip_address(address), trusted=True, headers=headers), book.holders)
    return book.demands(endpoint, caller)


def network_of(address: str) -> object:
    known = ip_address(address)
    ipv4 = as_ipv4(known)
    return int(ipv4) >> 8 if ipv4 is not None else ("v6", int(known) >> 80)


class Model:
    """What is spent, counted in the plainest way."""

    def __init__(self, bursts: Sequence[int], missing: Sequence[Missing]) -> None:
        self.bursts = bursts
        self.missing = missing
        self.spent: Counter[object] = Counter()

    def admits(self, who: Mapping[str, str], address: str, endpoint: Endpoint) -> bool:
        paid: list[tuple[int, object]] = []
        for place, way in enumerate(WAYS):
            known = who if "user" in who else {}  # attributes come with a user, or not at all
            names = [part for part in way if isinstance(part, str) and part != "endpoint"]
            if way == ("user",):
                holder: object = who.get("user", group(ip_address(address)))
            elif names and not all(name in known for name in names):
                if self.missing[place] is Missing.REFUSE:
                    return False
                if self.missing[place] is Missing.SKIP:
                    continue
                holder = "shared"
            elif names:
                holder = tuple(known[name] for name in names)
            else:
                holder = network_of(address)
            paid.append((place, (holder, endpoint.name if "endpoint" in way else "")))
        if any(self.spent[bucket] >= self.bursts[bucket[0]] for bucket in paid):
            return False
        self.spent.update(paid)
        return True


bursts = st.lists(st.integers(1, 6), min_size=len(WAYS), max_size=len(WAYS))
missing = st.lists(st.sampled_from(Missing), min_size=len(WAYS), max_size=len(WAYS))
names = st.sampled_from(["a", "b", "a=1:b"])
callers = st.fixed_dictionaries({}, optional={"user": names, "org": names, "team": names})
ADDRESSES = [
    "192.0.2.1",
    "192.0.2.200",
    "192.0.3.1",
    "64:ff9b::192.0.2.7",
    "2001:db8::1",
    "2001:db8:0:1::1",
    "2001:db8:1::1",
]
requests = st.lists(st.tuples(callers, st.sampled_from(ADDRESSES), st.sampled_from(ENDPOINTS)), max_size=40)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bursts=bursts, missing=missing, requests=requests)
def test_a_request_pays_the_buckets_of_its_network_organization_team_and_user_or_none(
    redis: "Redis", bursts: list[int], missing: list[Missing], requests: list[Request]
) -> None:
    """In memory and in Redis alike; what becomes of a caller without an attribute, each limit says."""
    redis.flushall()
    book, model = rules(bursts, missing), Model(bursts, missing)
    states: dict[bytes, State] = {}
    for request in requests:
        check = demands(book, *request)
        call = call_take(b"", [check], 0)
        reply = redis.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
        assert isinstance(reply, list)
        now, *owed = reply
        decision, new = take(check, [states.get(each.key) for each in check], now)
        states |= {each.key: state for each, state in zip(check, new, strict=True) if state is not None}
        assert judge(check, owed, now) == decision
        assert decision.allowed == model.admits(*request)


async def spend(opened: Limiter, book: Rules, *teams: str) -> list[bool]:
    callers = [{"user": f"user-{number}", "org": "acme", "team": team} for number, team in enumerate(teams)]
    checks = [demands(book, who, f"203.0.{number}.1", ENDPOINTS[0]) for number, who in enumerate(callers)]
    return [(await opened.check(check)).allowed for check in checks]


ORG_OF_FOUR_TEAM_OF_TWO = rules([4, 2, 99, 99, 99, 99, 99], [Missing.SKIP] * len(WAYS))


async def test_a_team_at_its_end_costs_its_organization_nothing_in_memory_and_in_redis() -> None:
    book = ORG_OF_FOUR_TEAM_OF_TWO
    async with redis_server() as server:
        for url in (None, server.url):
            async with limiter(url) as opened:
                assert await spend(opened, book, *["blue"] * 5) == [True, True, False, False, False]
                assert await spend(opened, book, "red", "red", "green") == [True, True, False]


async def test_a_team_at_its_end_costs_its_organization_nothing_in_a_cluster() -> None:
    book = ORG_OF_FOUR_TEAM_OF_TWO
    async with redis_cluster() as nodes, limiter(nodes[0].url.replace("redis:", "redis+cluster:")) as opened:
        assert await spend(opened, book, *["blue"] * 5) == [True, True, False, False, False]
        assert await spend(opened, book, "red", "red", "green") == [True, True, False]


async def test_callers_without_an_attribute_share_a_bucket_or_are_refused_also_when_nothing_is_charged() -> None:
    async with limiter(None) as opened:
        shared = rules([2, 99, 99, 99, 99, 99, 99], [Missing.SHARED, *[Missing.SKIP] * (len(WAYS) - 1)])
        anybody = [demands(shared, {"user": f"user-{each}"}, "192.0.2.1", ENDPOINTS[0]) for each in range(3)]
        assert [(await opened.check(each)).allowed for each in anybody] == [True, True, False]
        refused = rules([2, 99, 99, 99, 99, 99, 99], [Missing.REFUSE, *[Missing.SKIP] * (len(WAYS) - 1)])
        nobody = demands(refused, {}, "198.51.100.1", ENDPOINTS[0])
        verdict = await opened.check(nobody)
        assert not verdict.allowed
        assert [nobody[position].charge.limit for position in verdict.decision.refused] == ["limit-0"]
        assert (await opened.check(demands(refused, {"user": "u", "org": "o"}, "198.51.100.1", ENDPOINTS[0]))).allowed
