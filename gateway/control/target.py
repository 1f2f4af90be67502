"""`Target`: whom an override, a usage or a reset is about: a user, or the clients at an address or in a network."""

from typing import NamedTuple

from gateway.limits.address import Network, name_clients, parse_address, parse_clients
from gateway.limits.identity import Identity

USER, ADDRESS = "user", "address"
KINDS = (USER, ADDRESS)

_MAX_USER = 256


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


def parse_target(kind: str, name: str) -> Target:
    """The target that an operator means by a name.

    Raises:
        ValueError: it cannot be one. The message says why, and begins with a verb.
    """
    if kind == ADDRESS:
        return Target(ADDRESS, name_clients(parse_clients(name)))
    if not 0 < len(name) <= _MAX_USER or not _is_unicode(name):
        raise ValueError(f"must be a string of 1 to {_MAX_USER} characters in UTF-8")
    return Target(USER, name)


def address_in(user: str) -> str | None:
    """The address or network that was written as a user id, or as a part of a path in which its slash is escaped.

    Callers who are known by address have no user id, so nothing that is set for such a user has an effect.
    """
    text = user.removeprefix("address/")
    try:
        return name_clients(parse_clients(text))
    except ValueError:
        return None if parse_address(text.partition("/")[0]) is None else "{address}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
