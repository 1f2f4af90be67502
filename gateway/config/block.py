"""Reads `block`: whose requests are all refused."""

from gateway.config.address import clients, names_clients
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
    if "users" not in entries and "networks" not in entries:
        raise entries.node.refuse("this blocks nobody; list 'networks' or 'users'")
    return Block(frozenset(entries.values.get("users", ())), entries.values.get("networks", ()))


BLOCK = Section(
    "block",
    {"users": each(_user, least=1), "networks": each(_network, least=1)},
    (Block,),
    _build,
    about="Callers whose every request is refused.",
    meanings={
        "users": "Their IDs.",
        "networks": "Networks or addresses of clients, whoever's token they send; an IPv6 address stands for its /64.",
    },
)
