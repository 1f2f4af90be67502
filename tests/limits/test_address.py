"""Addresses of clients, and which of several to believe."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.limits import address as module
from gateway.limits.address import (
    Address,
    Network,
    belongs,
    find_client,
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
    ("header", "client"),
    [
        ("", "10.0.0.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:1234", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("1.1.1.1, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("1.1.1.1,9.9.9.9,10.0.0.2,fd00::7", "9.9.9.9"),
        ("9.9.9.9, ::ffff:10.0.0.2", "9.9.9.9"),
        ("bogus, 9.9.9.9", "9.9.9.9"),
        (", 9.9.9.9", "9.9.9.9"),
        # All trusted: the leftmost.
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
        # Garbage is met: the peer.
        ("9.9.9.9, bogus, 10.0.0.2", "10.0.0.1"),
        ("9.9.9.9, bogus", "10.0.0.1"),
        ("9.9.9.9,", "10.0.0.1"),
        ("9.9.9.9,, 10.0.0.2", "10.0.0.1"),
        ("009.9.9.9", "10.0.0.1"),
        ("9.9.9.9, fe80::1%eth0", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        (" ", "10.0.0.1"),
        (",", "10.0.0.1"),
        ("9.9.9.9; 10.0.0.2", "10.0.0.1"),
    ],
)
def test_the_walk_from_the_right(header: str, client: str) -> None:
    assert find_client(PEER, header, TRUSTED) == ip_address(client)


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "127.0.0.1"])
def test_a_peer_that_is_not_trusted_is_the_client(peer: str) -> None:
    assert find_client(ip_address(peer), "9.9.9.9", TRUSTED) == ip_address(peer)


def test_a_peer_that_nobody_knows_is_not_believed() -> None:
    assert find_client(None, "9.9.9.9", TRUSTED) is None


def test_no_chain_of_trusted_proxies_is_longer_than_the_cap() -> None:
    hops = ["10.0.0.2"] * module._MAX_HOPS
    assert find_client(PEER, ", ".join(["10.9.9.9", *hops[1:]]), TRUSTED) == ip_address("10.9.9.9")
    assert find_client(PEER, ", ".join(["10.9.9.9", *hops]), TRUSTED) == PEER
    assert find_client(PEER, ", ".join(["9.9.9.9", *hops]), TRUSTED) == PEER


def test_what_stands_left_of_the_client_does_not_matter_however_much_it_is() -> None:
    assert find_client(PEER, "1.1.1.1, " * 10_000 + "9.9.9.9, 10.0.0.2", TRUSTED) == ip_address("9.9.9.9")


def test_only_as_many_entries_are_read_as_a_chain_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a huge header costs no more than a long one."""
    read: list[str] = []

    def note(text: str) -> Address | None:
        read.append(text)
        return parse_address(text)

    monkeypatch.setattr(module, "parse_address", note)
    assert find_client(PEER, ",".join(["10.0.0.2"] * 100_000), TRUSTED) == PEER
    assert len(read) == module._MAX_HOPS
    assert max(map(len, read)) < 20


@given(st.lists(st.ip_addresses(), max_size=40), st.ip_addresses())
def test_the_client_is_the_peer_or_stands_in_the_header(entries: list[Address], peer: Address) -> None:
    client = find_client(peer, ", ".join(map(str, entries)), TRUSTED)
    assert client in {peer, *(parse_address(str(entry)) for entry in entries)}


@given(st.text(), st.lists(st.ip_addresses(v=4, network="192.0.2.0/24"), min_size=1, max_size=3))
def test_nothing_a_client_sends_changes_what_the_proxy_appended(sent: str, appended: list[Address]) -> None:
    """The first address from the right that is no proxy of ours was written by one that is."""
    header = ", ".join([sent, *map(str, appended)])
    assert find_client(PEER, header, TRUSTED) == appended[-1]


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


def test_ipv4_behind_a_translator_is_nobodys_proxy() -> None:
    """Anybody may write such an address, and 64:ff9b::10.0.0.1 is none of 10.0.0.0/8."""
    translated = ip_address("64:ff9b::10.0.0.1")
    assert find_client(translated, "192.0.2.1", TRUSTED) == translated
    assert find_client(PEER, "192.0.2.1, 64:ff9b::10.0.0.1", TRUSTED) == translated


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
        ("64:ff9b::/96", "0.0.0.0/0"),
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
    ],
)
def test_what_names_no_clients_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_clients(text)
