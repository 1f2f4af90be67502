"""Reads `block`: whose requests are all refused."""

from gateway.config.address import clients, names_clients
from gateway.config.attribute import values
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.reader import reads
from gateway.config.scalar import each, text
from gateway.config.section import Section
from gateway.limits.address import Network
from gateway.limits.override import Block


@reads(text.words, text.schema)
def _user(node: Node) -> str:
    value = text(node)
    if names_clients(value):
        raise node.refuse(f"{quote(value)} is an address, which nobody has for a user ID; list it under 'networks'")
    if "*" in value:
        node.warn(f"'*' is no wildcard here: only the user with the ID {quote(value)} is blocked")
    return value


@reads(clients.words, clients.schema)
def _network(node: Node) -> Network:
    blocked = clients(node)
    if blocked.prefixlen == 0:
        node.warn(f"{blocked} is everybody with an IPv{blocked.version} address: all their requests are refused")
    return blocked


def _build(entries: Entries) -> Block:
    if not any(key in entries for key in ("users", "networks", "attributes")):
        raise entries.node.refuse("this blocks nobody; list 'networks', 'users' or 'attributes'")
    found = entries.values
    return Block(
        frozenset(found.get("users", ())),
        found.get("networks", ()),
        found.get("attributes", frozenset()),
    )


BLOCK = Section(
    "block",
    {"users": each(_user, least=1), "networks": each(_network, least=1), "attributes": values},
    (Block,),
    _build,
    about="Callers whose every request is refused.",
    meanings={
        "users": "Their IDs.",
        "networks": "Networks or addresses of clients, whoever's token they send; an IPv6 address stands for its /64.",
        "attributes": "Values of attributes, as in `org: [acme]`: all callers who have one of them.",
    },
)
