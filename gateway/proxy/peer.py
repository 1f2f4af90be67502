"""`Peer`: who is at the other end of a client connection."""

from dataclasses import dataclass
from socket import AF_UNIX, socket

from gateway.limits.address import UNIX, Address, Unix, parse_address
from gateway.limits.identity_source import Certificate


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a client connection: the client itself, or a proxy.

    Attributes:
        address: Its address; None if it is unknown.
        source: The same as text; empty if it is unknown.
        scheme: ``http`` or ``https``.
        trusted: Whether it is a trusted proxy.
        certificate: Its certificate, which was verified; None if it has none.
    """

    address: Address | Unix | None
    source: str
    scheme: str
    trusted: bool
    certificate: Certificate | None = None


def peer_address(accepted: socket, name: object) -> Address | Unix | None:
    """The address at the other end of a client's socket, which has this peer name."""
    if accepted.family == AF_UNIX:
        return UNIX
    return parse_address(name[0].partition("%")[0]) if isinstance(name, tuple) else None
