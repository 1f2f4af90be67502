"""Reads `exempt`: whose requests limits do not count."""

from collections.abc import Iterable

from gateway.config.address import names_clients, network
from gateway.config.attribute import values
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.reader import reads
from gateway.config.scalar import each, text
from gateway.config.section import Section
from gateway.limits.limit import Exemption


@reads(text.words, text.schema)
def _user(node: Node) -> str:
    value = text(node)
    if "*" in value:
        node.warn(f"'*' is no wildcard here: only the user with the ID {quote(value)} is exempt")
    elif names_clients(value):
        node.warn(f"{quote(value)} is an address, which nobody has for a user ID; list it under 'networks'")
    return value


def _exempt(entries: Entries) -> Exemption:
    found = entries.values
    return Exemption(
        frozenset(found.get("users", ())),
        found.get("networks", ()),
        found.get("attributes", frozenset()),
    )


EXEMPT = Section(
    "limits.exempt",
    {"users": each(_user), "networks": each(network), "attributes": values},
    (Exemption,),
    _exempt,
    meanings={
        "users": "Their IDs.",
        "networks": "Networks or addresses of clients.",
        "attributes": "Values of attributes, as in `org: [acme]`: all callers who have one of them.",
    },
)


def unite(exemptions: Iterable[Exemption]) -> Exemption:
    """Whoever is exempt by one of these."""
    listed = list(exemptions)
    return Exemption(
        frozenset[str]().union(*(each.users for each in listed)),
        tuple(network for each in listed for network in each.networks),
        frozenset[tuple[str, str]]().union(*(each.attributes for each in listed)),
    )
