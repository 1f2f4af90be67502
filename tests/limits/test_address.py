"""Addresses of clients, and which of them are one client."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.limits import address as module
from gateway.limits.address import (
    Address,
    Network,
    belongs,
    group,
    is_one_client,
    name_clients,
    parse_address,
    parse_clients,
)

PEER = ip_address("10.0.0.1")
TRANSLATED = IPv6Network("64:ff9b::/96")
TRUSTED: tuple[Network, ...] = (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:443", "192.0.2.1"),
        (" \t192.0.2.1\t ", "192.0.2.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:0DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[0000:0000:0000:0000:0000:ffff:192.000.002.001]:65535", None),
        ("[2001:0db8:1111:2222:3333:4444:192.168.122.111]:65535", "2001:db8:1111:2222:3333:4444:c0a8:7a6f"),
        ("::1:443", "::1:443"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:8080", "192.0.2.1"),
        ("::192.0.2.1", "::c000:201"),
    ],
)
def test_spellings(text: str, address: str | None) -> None:
    assert parse_address(text) == (ip_address(address) if address else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "192.0.2",
        "192.0.2.1.1",
        "192.0.2.256",
        "192.0.2.1/32",
        "009.9.9.9",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "2130706433",
        "192.0.2.1:",
        "192.0.2.1:http",
        "192.0.2.1:-1",
        "192.0.2.1:123456",
        "192.0.2.1:\u0664\u0664",
        "192.0.2.1 :80",
        "192.0.2.1\r\n",
        "192.0.2.1\x00",
        "192.0.2.1\xa0",
        "1\u30022\u30023\u30024",
        "\uff11.2.3.4",
        "\u0661.2.3.4",
        "[192.0.2.1]",
        "[192.0.2.1]:80",
        "[2001:db8::1",
        "[2001:db8::1]443",
        "[2001:db8::1]:",
        "[2001:db8::1]:x",
        "[2001:db8::1]]",
        "[[2001:db8::1]]",
        "[ 2001:db8::1]",
        "[]",
        "[",
        "2001:db8::1]",
        "2001:db8:::1",
        "2001:db8::1::2",
        "fe80::1%eth0",
        "fe80::1%25eth0",
        "[fe80::1%eth0]:80",
        ":",
        ":80",
        "for=192.0.2.1",
        '"192.0.2.1"',
        "1" * 5_000,
        "\udcff",
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.text())
def test_whatever_is_read_never_fails(text: str) -> None:
    address = parse_address(text)
    assert address is None or parse_address(str(address)) == address


@given(st.ip_addresses())
def test_an_address_is_read_the_way_it_is_written(address: Address) -> None:
    expected = getattr(address, "ipv4_mapped", None) or address
    port_form = f"[{address}]:65535" if address.version == 6 else f"{address}:65535"
    assert parse_address(str(address)) == parse_address(address.exploded) == parse_address(port_form) == expected


def test_long_garbage_is_not_kept_in_the_cache() -> None:
    """A client chooses what is parsed, so it must not choose how much memory that takes."""
    before = module._parse.cache_info().currsize
    assert parse_address("x" * 8_000) is None
    assert module._parse.cache_info().currsize == before


@pytest.mark.parametrize(
    ("address", "inside"),
    [("10.255.0.1", True), ("11.0.0.1", False), ("fd12::1", True), ("fe80::1", False), (None, False)],
)
def test_belongs(address: str | None, *, inside: bool) -> None:
    assert belongs(ip_address(address) if address else None, TRUSTED) is inside


def test_nothing_belongs_to_no_networks() -> None:
    assert not belongs(PEER, ())


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("64:ff9b::", "0.0.0.0"),
        ("64:ff9b::ffff:ffff", "255.255.255.255"),
        ("64:ff9b::1:c000:201", "64:ff9b::/64"),
        ("64:ff9b:1::c000:201", "64:ff9b:1::/64"),
    ],
)
def test_an_address_is_limited_by_itself_or_by_its_64(address: str, name: str) -> None:
    assert group(ip_address(address)) == name


@given(st.ip_addresses(v=6), st.ip_addresses(v=6))
def test_two_ipv6_addresses_share_a_group_exactly_when_they_share_64_bits(one: Address, other: Address) -> None:
    near = type(one)(int(one) ^ (int(other) & (2**64 - 1)))
    assume(not any(address in TRANSLATED for address in (one, other, near)))
    assert group(one) == group(near)
    assert (group(one) == group(other)) == (int(one) >> 64 == int(other) >> 64)


@given(st.ip_addresses(v=4), st.ip_addresses(v=6, network="64:ff9b::/96"))
def test_ipv4_behind_a_translator_is_limited_by_itself(direct: Address, translated: Address) -> None:
    assert group(IPv6Address(int(TRANSLATED[0]) | int(direct))) == group(direct)
    assert group(translated) == str(IPv4Address(int(translated) & 0xFFFFFFFF))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("198.51.100.7/32", "198.51.100.7"),
        ("198.51.100.0/24", "198.51.100.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0::/64", "2001:db8::/64"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
        ("64:ff9b::198.51.100.7", "198.51.100.7"),
        ("64:ff9b::c633:6400/120", "198.51.100.0/24"),
    ],
)
def test_clients_are_named_as_limits_know_them(text: str, name: str) -> None:
    clients = parse_clients(text)
    assert name_clients(clients) == name
    assert parse_clients(name) == clients
    assert is_one_client(clients) == (group(clients.network_address) == name)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither"),
        ("ana", "neither"),
        ("1", "neither"),
        ("198.51.100.7:443", "neither"),
        ("[2001:db8::1]", "neither"),
        ("fe80::1%eth0", "neither"),
        ("198.51.100.07", "neither"),
        ("198.51.100.0/255.255.255.0", "neither"),
        ("198.51.100.0/33", "neither"),
        ("198.51.100.7/24", "has bits set after its prefix; write 198.51.100.0/24"),
        ("2001:db8::1/64", "has bits set after its prefix; write 2001:db8::/64"),
        ("2001:db8::1/128", "is a part of one IPv6 client; write 2001:db8::/64"),
        ("2001:db8::/65", "is a part of one IPv6 client; write 2001:db8::/64"),
        ("64:ff9b::/96", "is all of IPv4; write 0.0.0.0/0 if that is meant"),
        ("::ffff:0:0/96", "is all of IPv4; write 0.0.0.0/0 if that is meant"),
    ],
)
def test_what_names_no_clients_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_clients(text)
