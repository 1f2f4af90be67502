"""Addresses and networks: how they are parsed, and which of them are one client.

A peer on a Unix socket has no address. The word `UNIX` stands for all of them, as an address and among networks.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Unix = Literal["unix"]
UNIX: Final[Unix] = "unix"
"""The other end of a Unix socket."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""Where a translator shows IPv4 hosts to IPv6 ones (RFC 6052 section 2.1)."""

_MAPPED = IPv6Network("::ffff:0:0/96")
"""IPv4 addresses within IPv6 (RFC 4291 section 2.5.5.2)."""

_OF_CLIENT = 64
"""Length of the prefix that one IPv6 client has."""

_CLIENTS = re.compile(r"[0-9A-Fa-f.:]{1,45}(/[0-9]{1,3})?", re.ASCII)

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
LOCAL: tuple[Network | Unix, ...] = (*LOOPBACK, UNIX)
"""This machine."""

_MAX_LENGTH = len("[0000:0000:0000:0000:0000:0000:000.000.000.000]:65535")


def parse_address(text: str) -> Address | None:
    """Parse ``192.0.2.1``, ``192.0.2.1:443``, ``2001:db8::1`` or ``[2001:db8::1]:443``; None if it is none of these.

    An IPv4 address mapped into IPv6 (RFC 4291 section 2.5.5.2) is the IPv4 address. Zones, leading zeros, and
    anything but decimal digits in IPv4 are rejected.
    """
    text = text.strip(" \t")
    return _parse(text) if len(text) <= _MAX_LENGTH else None


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port)) or ":" not in text:
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(":" + port):
            return None
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text[:1] == ":" and digits.isascii() and digits.isdigit() and len(digits) <= 5  # noqa: PLR2004


def belongs(address: Address | Unix | None, networks: Sequence[Network | Unix]) -> bool:
    """Whether `address` lies in one of `networks`."""
    if address is None or isinstance(address, str):
        return address in networks
    return any(address in network for network in networks if not isinstance(network, str))


@lru_cache(maxsize=4096)
def group(address: Address | Unix, ipv4_bits: int = 32, ipv6_bits: int = _OF_CLIENT) -> str:
    """The name under which an address is limited: an IPv4 address is one client, and so is an IPv6 /64.

    With fewer bits, it is the name of the network around it.

    All clients on Unix sockets are one.

    A single IPv6 customer commonly gets a /64 (RFC 6177), so it could pose as many clients under a longer prefix. But
    behind a translator all of IPv4 is one /64, so an address there is grouped by the IPv4 address that it holds. Trust
    is in the address as it came: anybody may write 64:ff9b::10.0.0.1.
    """
    if isinstance(address, str):
        return address
    ipv4 = as_ipv4(address)
    if ipv4 is not None:
        return name_clients(IPv4Network((int(ipv4) >> 32 - ipv4_bits << 32 - ipv4_bits, ipv4_bits)))
    return str(IPv6Network((int(address) >> 128 - ipv6_bits << 128 - ipv6_bits, ipv6_bits)))


def is_mapped(network: Network) -> bool:
    """Whether a network has IPv4 addresses within IPv6 only, which `parse_address` takes for IPv4."""
    return isinstance(network, IPv6Network) and network.subnet_of(_MAPPED)


def as_ipv4(address: Address) -> IPv4Address | None:
    """An IPv4 address, also one that a translator shows as IPv6; None for all others."""
    if isinstance(address, IPv4Address):
        return address
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def parse_clients(text: str) -> Network:
    """The clients that an operator means by an address or a network, in the form in which `group` names them.

    ``2001:db8::1`` is the client that has 2001:db8::/64. IPv4 addresses within IPv6, mapped or translated, are IPv4.

    Raises:
        ValueError: it is neither, has bits set after its prefix, is a part of one IPv6 client, or is all of IPv4 in a
            spelling that does not show it.
    """
    try:
        network = ip_network(text if _CLIENTS.fullmatch(text) else "", strict=False)
    except ValueError:
        raise ValueError(
            "is neither an address nor a network; write 198.51.100.7, 198.51.100.0/24 or 2001:db8::/64"
        ) from None
    if "/" in text and ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"has bits set after its prefix; write {network}")
    if isinstance(network, IPv4Network):
        return network
    for translated in (_MAPPED, _NAT64):
        if network == translated:
            raise ValueError("is all of IPv4; write 0.0.0.0/0 if that is meant")
        if network.subnet_of(translated):
            return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - translated.prefixlen))
    if network.prefixlen <= _OF_CLIENT:
        return network
    client = network.supernet(new_prefix=_OF_CLIENT)
    if "/" in text:
        raise ValueError(f"is a part of one IPv6 client; write {client}")
    return client


def name_clients(network: Network) -> str:
    """The name of clients; that of a single one is the one that `group` gives to its address."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def count_clients(network: Network) -> int:
    """How many clients in a network are told apart."""
    return 1 << max(0, _longest(network) - network.prefixlen)


def clients_in(network: Network) -> Iterator[Address]:
    """An address of each client in a network."""
    for part in network.subnets(new_prefix=max(_longest(network), network.prefixlen)):
        yield part.network_address


def is_one_client(network: Network) -> bool:
    """Whether no two callers in a network are told apart by address."""
    return count_clients(network) == 1


def _longest(network: Network) -> int:
    """The length of the prefix that one client has."""
    return network.max_prefixlen if isinstance(network, IPv4Network) else _OF_CLIENT
