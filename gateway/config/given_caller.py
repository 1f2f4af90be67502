"""Reads who makes the requests of a rule test."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

from gateway.config.attribute import by_attribute
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.reader import reads, string
from gateway.config.scalar import text
from gateway.config.section import Section
from gateway.limits.address import Address, parse_address

_USUAL_ADDRESS: Address = ip_address("192.0.2.1")  # of RFC 5737: no rule names it by accident


@dataclass(frozen=True, slots=True)
class GivenCaller:
    """Who a test's requests come from, as an identity source would have found them.

    Attributes:
        user: The user id; None for a caller known by address only.
        tier: The user's tier; None for none.
        address: The client's address.
        attributes: More about the user.
    """

    user: str | None = None
    tier: str | None = None
    address: Address = _USUAL_ADDRESS
    attributes: Mapping[str, str] = field(default_factory=dict)


@reads("address", string("^[0-9A-Fa-f.:]+$"))
def _address(node: Node) -> Address:
    value = text(node)
    with suppress(ValueError):
        found = parse_address(str(ip_address(value)))  # the second takes a port as well
        if found is not None:
            return found
    raise node.refuse(f"{quote(value)} is not an address; write that of one client, as in 198.51.100.7 or 2001:db8::1")


def _caller(entries: Entries) -> GivenCaller:
    for key in ("tier", "attributes"):
        if key in entries and "user" not in entries:
            raise entries.at(key).refuse(f"only users have {key.removesuffix('s')}s; write 'user' as well")
    return entries.build(GivenCaller)


AS = Section(
    "tests.as",
    {"user": text, "tier": text, "address": _address, "attributes": by_attribute(text, "text")},
    (GivenCaller,),
    _caller,
    about="Who makes requests.",
    meanings={
        "user": "Their user ID; without it, they are known by address only.",
        "tier": "The user's tier.",
        "address": "The client's address; 192.0.2.1 if nothing is said.",
        "attributes": "Attributes of the user, as in `{org: acme}`; others are missing.",
    },
)
