"""`Target`: whom an override, a usage or a reset is about: a user, clients, or whoever has certain attributes."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from gateway.limits.address import Network, name_clients, parse_address, parse_clients
from gateway.limits.holder import ADDRESS, BY_ADDRESS, USER, Holder, is_attribute_name
from gateway.limits.identity import Identity

ATTRIBUTES = "attributes"
KINDS = (USER, ADDRESS, ATTRIBUTES)

_MAX_VALUE = 256
_BY_USER = Holder(USER, user=True)


class Target(NamedTuple):
    """A user, the clients at an address or in a network, or the callers with certain attributes.

    Attributes:
        kind: One of `KINDS`; the member of documents that says whose it is.
        name: The user id, the address or network as limits know it, or names and values as in a path:
            ``org/acme/team/blue``, sorted, with escapes in the values.
    """

    kind: str
    name: str

    @classmethod
    def of_attributes(cls, values: Mapping[str, str]) -> "Target":
        """The callers with these attributes; the user id may be among them."""
        return cls(ATTRIBUTES, "/".join(f"{name}/{quote(values[name], safe='')}" for name in sorted(values)))

    @property
    def path(self) -> str:
        """The name that no other target has, as in paths and on the command line: a user id, or ``address/...``."""
        return f"{self.kind}/{self.name}" if self.kind == ADDRESS else self.name

    @property
    def clients(self) -> Network | None:
        """The clients; None for all but an address or a network."""
        return parse_clients(self.name) if self.kind == ADDRESS else None

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes by name; empty if it is told by something else."""
        if self.kind != ATTRIBUTES:
            return {}
        parts = self.name.split("/")
        return dict(zip(parts[::2], map(unquote, parts[1::2]), strict=True))

    @property
    def holder(self) -> Holder:
        """Whose buckets it has to itself."""
        if self.kind == ATTRIBUTES:
            return Holder.of(self.attributes) or _BY_USER
        return _BY_USER if self.kind == USER else BY_ADDRESS

    def changes(self, holder: Holder | None) -> bool:
        """Whether an override of it changes the buckets of such holders.

        Of a client's, those per user count who has no other name.
        """
        clients = self.clients
        if clients is None:
            return holder == self.holder
        return holder is not None and (holder == _BY_USER or holder.lies_in(clients))

    def document(self) -> dict[str, Any]:
        """Whose it is, in responses."""
        return {self.kind: self.attributes if self.kind == ATTRIBUTES else self.name}

    def digest(self, identity: Identity) -> str:
        """The name as a keyed hash: how logs and the store call it."""
        if self.kind == ATTRIBUTES:
            return identity.digest_of(self.holder, self.attributes).decode()
        return identity.digest(self.kind, self.name).decode()


def parse_target(kind: str, name: str) -> Target:
    """The target that an operator means by a name.

    Raises:
        ValueError: it cannot be one. The message says why, and begins with a verb.
    """
    if kind == ADDRESS:
        return Target(ADDRESS, name_clients(parse_clients(name)))
    if kind == ATTRIBUTES:
        return _parse_attributes(name)
    if not 0 < len(name) <= _MAX_VALUE or not _is_unicode(name):
        raise ValueError(f"must be a string of 1 to {_MAX_VALUE} characters in UTF-8")
    return Target(USER, name)


def _parse_attributes(path: str) -> Target:
    parts = path.split("/")
    values = dict(zip(parts[::2], map(unquote, parts[1::2]), strict=False))
    if len(parts) != 2 * len(values) or not all(name == USER or is_attribute_name(name) for name in values):
        raise ValueError("must be attributes, as in org/acme or org/acme/team/blue, with %2F for a slash in a value")
    if not all(0 < len(value) <= _MAX_VALUE and _is_unicode(value) for value in values.values()):
        raise ValueError(f"must have values of 1 to {_MAX_VALUE} characters in UTF-8")
    return Target(USER, values[USER]) if values.keys() == {USER} else Target.of_attributes(values)


def unknown_attribute(target: Target, identity: Identity) -> str | None:
    """An attribute of a target that no identity source names, so that no caller has it; None if there is none."""
    return next(iter(sorted(target.attributes.keys() - {USER, *identity.attributes})), None)


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
