"""Reads `dns`."""

from gateway.config.entries import Entries
from gateway.config.node import Node
from gateway.config.number import seconds
from gateway.config.reader import reads, string
from gateway.config.scalar import each, parsed
from gateway.config.section import Section, keys_of
from gateway.limits.address import parse_address
from gateway.settings.dns import Dns
from gateway.settings.url import HostPort

_PORT = 53
_server = parsed(
    lambda text: HostPort.parse(text, _PORT),
    "name server",
    string(r"^([0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"),
)


@reads(_server.words, _server.schema)
def name_server(node: Node) -> HostPort:
    """The address of a name server."""
    server = _server(node)
    if not server.port or parse_address(server.host) is None:
        raise node.refuse("a name server is an address, such as 10.0.0.53, 10.0.0.53:5353 or [fd00::53]")
    return server


def _dns(entries: Entries) -> Dns:
    dns = entries.build(Dns)
    if dns.min_ttl > dns.max_ttl:
        entries.at("min_ttl" if "min_ttl" in entries else "max_ttl").refuse("min_ttl is longer than max_ttl")
    return dns


DNS = Section(
    "dns",
    keys_of(Dns, servers=each(name_server), min_ttl=seconds(zero=True), stale_time=seconds(zero=True)),
    (Dns,),
    _dns,
)
