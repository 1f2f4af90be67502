"""What is set for users and addresses, and which of several counts."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.address import Address, Network, as_ipv4, group, parse_clients
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.holder import BY_ADDRESS
from gateway.limits.identity import Identity
from gateway.limits.limit import Limit
from gateway.limits.network_map import NetworkMap
from gateway.limits.override import BLOCKED, Block, Effect, Override, Overrides
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules

IDENTITY = Identity((), (), b"secret")
QUOTA, LARGE = Quota(Rate(1, 60), 5), Quota(Rate(1, 60), 50)
ORDERS, SEARCH = Endpoint("orders", Template.parse("/orders")), Endpoint("search", Template.parse("/search"))
LIMITS = [
    Limit("user", ("user",), QUOTA, tiers={"gold": LARGE}),
    Limit("place", ("address",), QUOTA),
    Limit("at", ("address", "endpoint"), QUOTA),
    Limit("all", (), QUOTA),
]
RULES = Rules([ORDERS, SEARCH], LIMITS)


def set_to(effect: Effect, **more: object) -> Override:
    return Override(effect, 2**60, "a test", **more)  # type: ignore[arg-type]


BLOCK, EXEMPT, RATE = set_to(Effect.BLOCK), set_to(Effect.EXEMPT), set_to(Effect.QUOTA, quota=LARGE)


def user(name: str, address: str) -> Caller:
    client = IDENTITY.client(ip_address(address))
    return IDENTITY.user(name, address=client.address, holders=(BY_ADDRESS,))


def client(address: str) -> Caller:
    return IDENTITY.client(ip_address(address))


def rules(networks: Mapping[str, Override], users: Mapping[str, Override] | None = None, block: str = "") -> Rules:
    base = Rules([ORDERS, SEARCH], LIMITS, block=Block(networks=tuple(map(parse_clients, block.split()))))
    by_digest = {IDENTITY.user(name).digest: each for name, each in (users or {}).items()}
    return base.with_overrides(Overrides(by_digest, {parse_clients(text): each for text, each in networks.items()}))


def large(demands: list[Demand]) -> list[str]:
    """The limits of which the request meets a larger bucket."""
    return [each.charge.limit for each in demands if each.charge.quota == LARGE]


def is_blocked(book: Rules, caller: Caller, endpoint: Endpoint = ORDERS) -> bool:
    demands = book.demands(endpoint, caller)
    blocked = [each.charge for each in demands if each.charge.limit == BLOCKED]
    assert len(blocked) in {0, len(demands)}
    return any(charge.due > charge.ceiling for charge in blocked)


def test_a_blocked_address_is_refused_whichever_identity_it_carries() -> None:
    for book in (rules({"198.51.100.7": BLOCK}), rules({}, block="198.51.100.7")):
        assert is_blocked(book, user("ana", "198.51.100.7"))
        assert is_blocked(book, client("198.51.100.7"))
        assert is_blocked(book, client("64:ff9b::198.51.100.7"))
        assert not is_blocked(book, user("ana", "198.51.100.8"))
        assert not is_blocked(book, IDENTITY.user("ana"))  # asked about without an address


def test_a_rate_of_an_address_counts_in_limits_per_address_and_for_callers_without_a_user_id() -> None:
    book = rules({"2001:db8::/32": RATE})
    assert large(book.demands(ORDERS, user("ana", "2001:db8:1::1"))) == ["place", "at"]
    assert large(book.demands(ORDERS, client("2001:db8:1::1"))) == ["user", "place", "at"]
    assert large(book.demands(ORDERS, client("2001:db9::1"))) == []
    plain = [each.key for each in RULES.demands(ORDERS, client("2001:db8:1::1"))]
    assert [each.key for each in book.demands(ORDERS, client("2001:db8:1::1"))] == plain
    named = rules({"192.0.2.1": set_to(Effect.QUOTA, quota=LARGE, limits=frozenset({"at"}))})
    assert large(named.demands(ORDERS, client("192.0.2.1"))) == ["at"]


def test_of_a_user_and_an_address_a_block_comes_first_and_then_an_exemption() -> None:
    here = user("ana", "192.0.2.1")
    assert is_blocked(rules({"192.0.2.1": BLOCK}, {"ana": EXEMPT}), here)
    assert is_blocked(rules({"192.0.2.1": EXEMPT}, {"ana": BLOCK}), here)
    assert rules({"192.0.2.1": EXEMPT}, {"ana": RATE}).demands(ORDERS, here) == []
    both = rules({"192.0.2.1": RATE}, {"ana": RATE})
    assert large(both.demands(ORDERS, here)) == ["user", "place", "at"]


def test_a_tier_of_an_address_is_that_of_callers_without_a_user_id() -> None:
    book = rules({"192.0.2.0/24": set_to(Effect.TIER, tier="gold")})
    assert large(book.demands(ORDERS, client("192.0.2.1"))) == ["user"]
    assert large(book.demands(ORDERS, user("ana", "192.0.2.1"))) == []


def test_the_longest_prefix_that_covers_the_endpoint_counts_in_rules_and_overrides_alike() -> None:
    only_orders = set_to(Effect.EXEMPT, endpoints=frozenset({"orders"}))
    book = rules({"198.51.100.7": only_orders, "198.51.0.0/16": EXEMPT}, block="198.51.100.0/24")
    assert book.demands(ORDERS, client("198.51.100.7")) == []
    assert is_blocked(book, client("198.51.100.7"), SEARCH)
    assert is_blocked(book, client("198.51.100.8"))
    assert book.demands(ORDERS, client("198.51.7.7")) == []
    assert not is_blocked(rules({"198.51.100.0/24": RATE}, block="198.51.100.0/24"), client("198.51.100.7"))


def test_the_rules_block_a_user_until_an_override_says_otherwise() -> None:
    base = Rules([ORDERS], LIMITS, block=Block(users=frozenset({"ana"})))
    assert is_blocked(base, user("ana", "192.0.2.1"))
    assert not is_blocked(base, user("bob", "192.0.2.1"))
    ana = IDENTITY.user("ana")
    assert large(base.with_overrides(Overrides({ana.digest: RATE})).demands(ORDERS, ana)) == ["user"]
    assert not is_blocked(base.without_overrides(), ana)


def test_without_overrides_and_blocks_no_address_is_looked_up() -> None:
    assert not RULES.has_overrides
    assert BY_ADDRESS in RULES.holders  # because of its limits
    plain = Rules([ORDERS], [Limit("user", ("user",), QUOTA)])
    assert BY_ADDRESS not in plain.holders
    assert BY_ADDRESS in plain.with_overrides(Overrides(networks={parse_clients("192.0.2.1"): BLOCK})).holders


bits = st.sampled_from([0, 1, 2**31, 2**32 - 1, 0xC6336407, 0x64FF9B << 8]) | st.integers(0, 2**32 - 1)
ipv4 = bits.map(IPv4Address)
translated = bits.map(lambda number: IPv6Address((0x64FF9B << 96) + number))
ipv6 = st.integers(0, 7).map(lambda number: IPv6Address((0x20010DB8 << 96) + (number << 63)))
addresses = ipv4 | translated | ipv6
networks = st.tuples(addresses, st.integers(0, 64)).map(
    lambda pair: parse_clients(str(_around(pair[0], min(pair[1], 32 if pair[0].version == 4 else 64))))
)


def _around(address: Address, length: int) -> Network:
    kind = {4: "0.0.0.0", 6: "::"}[address.version]
    mask = int(parse_clients(f"{kind}/{length}").netmask)
    return parse_clients(f"{type(address)(int(address) & mask)}/{length}")


@given(st.sets(networks, max_size=12), addresses)
def test_networks_that_cover_an_address_are_found_longest_first(entries: set[Network], address: Address) -> None:
    forms = [form for form in (as_ipv4(address), address) if form is not None]
    covering = [each for form in dict.fromkeys(forms) for each in entries if form in each]
    found = list(NetworkMap({each: each for each in entries}).matching(address))
    assert sorted(found, key=str) == sorted(covering, key=str)
    lengths = [each.prefixlen + 96 * (each.version == 4) for each in found]
    assert lengths == sorted(lengths, reverse=True)


@given(addresses)
def test_what_names_a_client_covers_its_address(address: Address) -> None:
    assert list(NetworkMap({parse_clients(group(address)): 1}).matching(address)) == [1]
    assert list(NetworkMap({parse_clients(str(address)): 1}).matching(address)) == [1]


@pytest.mark.parametrize("nowhere", [None, "unix"])
def test_nothing_covers_a_client_without_an_address(nowhere: None) -> None:
    everything = {parse_clients("0.0.0.0/0"): 1, parse_clients("::/0"): 1}
    assert list(NetworkMap(everything).matching(nowhere)) == []
