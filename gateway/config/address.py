"""Readers of addresses: networks, hosts and ports, origins."""

from dataclasses import replace
from ipaddress import ip_network

from gateway.config.node import Node, quote
from gateway.config.reader import Value, reads, string
from gateway.config.scalar import each, matching, parsed, text
from gateway.limits.address import UNIX, Network, Unix, is_mapped, parse_clients
from gateway.settings.url import HostPort, Origin

HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9._-]*)"
"""A host, as far as a pattern tells."""

host_port = parsed(HostPort.parse, "HOST:PORT", string(f"^{HOST}:[0-9]{{1,5}}$"))
origin = parsed(Origin.parse, "URL", string(r"^(https?://[^/?#@\s]+/?|unix:(//)?/.*[^/])$"))
web_origin = matching(
    r"https?://([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[1-9][0-9]{0,4})?",
    "web origin",
    "is not an origin; write https://app.example, without a path, in lower case",
    any_scalar=False,
)
"""The origin of web pages as browsers write it (RFC 6454 section 6.2): ``https://app.example`` or with a port."""


def server(default_port: int) -> Value[HostPort]:
    """A host, with a port or the default one."""
    return parsed(
        lambda address: HostPort.parse(address, default_port), "HOST:PORT", string(f"^{HOST}(:[0-9]{{1,5}})?$")
    )


_NETWORK = "[0-9A-Fa-f.:]+(/[0-9]{1,3})?"


@reads("network", string(f"^{_NETWORK}$"))
def network(node: Node) -> Network:
    """A network, ``10.0.0.0/8`` or ``2001:db8::/32``, or a single address."""
    value = text(node)
    try:
        found = ip_network(value)
    except ValueError:
        pass
    else:
        if is_mapped(found):
            raise node.refuse(f"{quote(value)} matches no client; write the IPv4 network", str(parse_clients(value)))
        return found
    try:
        near = str(ip_network(value, strict=False))
    except ValueError:
        raise node.refuse(f"{quote(value)} is not a network; write 10.0.0.0/8, 2001:db8::/32 or an address") from None
    raise node.refuse(f"{quote(value)} has bits set after its prefix", near)


@reads("network", string(f"^{_NETWORK}$"))
def clients(node: Node) -> Network:
    """An address or a network of clients, see `parse_clients`."""
    value = text(node)
    try:
        return parse_clients(value)
    except ValueError as error:
        raise node.refuse(f"{quote(value)} {error}") from None


def names_clients(value: str) -> bool:
    """Whether a text that should be a user ID is an address or a network: nobody has one for a user ID."""
    try:
        parse_clients(value)
    except ValueError:
        return False
    return True


@reads("network", string(f"^({_NETWORK}|{UNIX})$"))
def network_or_unix(node: Node) -> Network | Unix:
    """A network, or the word for all peers on Unix sockets."""
    return UNIX if node.is_scalar and text(node) == UNIX else network(node)


networks_or_unix = replace(each(network_or_unix), words="list of networks, or `unix`")
