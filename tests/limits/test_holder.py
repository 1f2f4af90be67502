"""Who has a bucket to themselves, and the hashes that stand for them."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.address import group
from gateway.limits.holder import ALL, BY_ADDRESS, Holder, Part, Prefixes, document_of, is_attribute_name, name_part
from gateway.limits.identity import Identity

IDENTITY = Identity((), (), b"key")


def holder_of(*per: Part) -> Holder:
    holder = Holder.of(per)
    assert holder is not None
    return holder


ORG, TEAM = holder_of("org"), holder_of("team", "org", "endpoint")


def test_the_order_of_attributes_makes_no_difference() -> None:
    assert Holder.of(["org", "team"]) == TEAM
    assert TEAM.name == "org,team"


def test_nobody_has_a_bucket_that_is_for_all_or_for_an_endpoint() -> None:
    assert Holder.of([]) is None
    assert Holder.of(["endpoint"]) is None


@pytest.mark.parametrize(
    ("per", "shared"),
    [(["user"], False), (["address"], False), (["org", "user"], False), (["org"], True), ([Prefixes(24, 48)], True)],
)
def test_a_bucket_is_shared_unless_a_user_or_a_client_has_it(per: list[Part], shared: bool) -> None:
    holder = Holder.of(per)
    assert holder is not None
    assert holder.is_shared == shared


def test_a_bucket_lies_in_a_network_that_has_all_of_its_clients() -> None:
    holder = Holder.of([Prefixes(24, 48)])
    assert holder is not None
    assert holder.lies_in(ip_network("198.51.100.0/24"))
    assert holder.lies_in(ip_network("198.51.0.0/16"))
    assert not holder.lies_in(ip_network("198.51.100.7/32"))
    assert holder.lies_in(ip_network("2001:db8::/32"))
    assert not holder.lies_in(ip_network("2001:db8::/64"))
    assert BY_ADDRESS.lies_in(ip_network("198.51.100.7/32"))
    assert not ORG.lies_in(ip_network("0.0.0.0/0"))


@pytest.mark.parametrize(
    ("address", "ipv4", "ipv6", "name"),
    [
        ("198.51.100.7", 24, 48, "198.51.100.0/24"),
        ("64:ff9b::198.51.100.7", 24, 48, "198.51.100.0/24"),
        ("2001:db8:1:2::3", 24, 48, "2001:db8:1::/48"),
        ("198.51.100.7", 32, 64, "198.51.100.7"),
        ("2001:db8:1:2::3", 32, 64, "2001:db8:1:2::/64"),
        ("198.51.100.7", 1, 1, "128.0.0.0/1"),
    ],
)
def test_an_address_is_limited_by_the_network_around_it(address: str, ipv4: int, ipv6: int, name: str) -> None:
    assert group(ip_address(address), ipv4, ipv6) == name


values = st.text(max_size=12)


@given(one=st.tuples(values, values), other=st.tuples(values, values))
def test_different_values_have_different_hashes_wherever_one_ends_and_the_next_begins(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    def digest(org: str, team: str) -> bytes:
        return IDENTITY.digest_of(TEAM, {"org": org, "team": team})

    assert (digest(*one) == digest(*other)) == (one == other)


def test_an_organization_a_user_and_an_address_of_one_name_have_different_hashes() -> None:
    digests = {IDENTITY.digest("user", "a"), IDENTITY.digest("address", "a"), IDENTITY.digest_of(ORG, {"org": "a"})}
    assert len(digests) == 3


def test_parts_are_written_as_in_rule_files() -> None:
    assert document_of(["org", Prefixes(24, 48), "endpoint"]) == [
        "org",
        {"network": {"ipv4": 24, "ipv6": 48}},
        "endpoint",
    ]
    assert document_of([]) == [ALL]
    assert [name_part("org"), name_part(Prefixes(24, 48))] == ["org", "network /24, /48"]


def test_an_attribute_is_called_nothing_that_means_something_else() -> None:
    assert is_attribute_name("org_unit-2")
    assert not any(map(is_attribute_name, ["user", "all", "tier", "Org", "2nd", "", "a" * 33, "org,team"]))
