"""`Target`: whom an override, a usage or a reset is about: a user, or the clients at an address or in a network."""

from typing import NamedTuple

from gateway.limits.address import Network, parse_clients
from gateway.limits.identity import Identity

USER, ADDRESS = "user", "address"


class Target(NamedTuple):
    """A user or clients.

    Attributes:
        kind: `USER` or `ADDRESS`; the member of documents that has the name.
        name: The user id, or the address or network as limits know it.
    """

    kind: str
    name: str

    @property
    def path(self) -> str:
        """The name that no other target has, as in paths and on the command line: a user id, or ``address/...``."""
        return self.name if self.kind == USER else f"{self.kind}/{self.name}"

    @property
    def clients(self) -> Network | None:
        """The clients; None for a user."""
        return parse_clients(self.name) if self.kind == ADDRESS else None

    def digest(self, identity: Identity) -> str:
        """The name as a keyed hash: how logs and the store call it."""
        return identity.digest(self.kind, self.name).decode()
