"""The client's address behind proxies."""

from ipaddress import IPv4Network, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.limits import forwarded_for as module
from gateway.limits.address import Address, Network, belongs, parse_address
from gateway.limits.forwarded_for import find_client
from gateway.limits.identity import Identity
from gateway.limits.identity_source import Sender

PEER = ip_address("10.0.0.1")
TRUSTED: tuple[Network, ...] = (IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8"))


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
        # Garbage is met: nobody.
        ("9.9.9.9, bogus, 10.0.0.2", None),
        ("9.9.9.9, bogus", None),
        ("9.9.9.9,", None),
        ("9.9.9.9,, 10.0.0.2", None),
        ("009.9.9.9", None),
        ("9.9.9.9, fe80::1%eth0", None),
        ("unknown", None),
        (" ", None),
        (",", None),
        ("9.9.9.9; 10.0.0.2", None),
    ],
)
def test_the_walk_from_the_right(header: str, client: str | None) -> None:
    assert find_client(PEER, header, TRUSTED) == (client and ip_address(client))


@pytest.mark.parametrize("peer", [ip_address("192.0.2.1"), ip_address("2001:db8::1"), None])
def test_a_peer_that_is_not_trusted_is_the_client(peer: Address | None) -> None:
    sender = Sender(peer, trusted=False, headers=CIMultiDict({"X-Forwarded-For": "9.9.9.9"}))
    assert Identity((), TRUSTED, b"").identify(sender).address == peer


def test_no_chain_of_trusted_proxies_is_longer_than_the_cap() -> None:
    hops = ["10.0.0.2"] * module._MAX_HOPS
    assert find_client(PEER, ", ".join(["10.9.9.9", *hops[1:]]), TRUSTED) == ip_address("10.9.9.9")
    assert find_client(PEER, ", ".join(["10.9.9.9", *hops]), TRUSTED) is None
    assert find_client(PEER, ", ".join(["9.9.9.9", *hops]), TRUSTED) is None


def test_what_stands_left_of_the_client_does_not_matter_however_much_it_is() -> None:
    assert find_client(PEER, "1.1.1.1, " * 10_000 + "9.9.9.9, 10.0.0.2", TRUSTED) == ip_address("9.9.9.9")


@pytest.mark.pure
def test_only_as_many_entries_are_read_as_a_chain_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a huge header costs no more than a long one."""
    read: list[str] = []

    def note(text: str) -> Address | None:
        read.append(text)
        return parse_address(text)

    monkeypatch.setattr(module, "parse_address", note)
    assert find_client(PEER, ",".join(["10.0.0.2"] * 100_000), TRUSTED) is None
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


def test_ipv4_behind_a_translator_is_nobodys_proxy() -> None:
    """Anybody may write such an address, and 64:ff9b::10.0.0.1 is none of 10.0.0.0/8."""
    translated = ip_address("64:ff9b::10.0.0.1")
    assert not belongs(translated, TRUSTED)
    assert find_client(PEER, "192.0.2.1, 64:ff9b::10.0.0.1", TRUSTED) == translated
