"""`Peer`: who is at the other end of a client connection."""

from dataclasses import dataclass

from gateway.limits.address import Address, parse_address


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a client connection: the client itself, or a proxy.

    Attributes:
        address: Its address; None on a Unix socket.
        source: The same as text; empty on a Unix socket.
        scheme: ``http`` or ``https``.
        trusted: Whether it is a trusted proxy.
    """

    address: Address | None
    source: str
    scheme: str
    trusted: bool


def peer_address(name: object) -> Address | None:
    """The address in a socket's peer name; None for a Unix socket."""
    return parse_address(name[0].partition("%")[0]) if isinstance(name, tuple) else None
