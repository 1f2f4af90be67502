"""`Caller`: whom a request is charged to."""

from typing import NamedTuple

from gateway.limits.address import Address, Unix

CLIENT_ADDRESS = "client_address"
"""The source of a caller who is known by nothing else."""

GIVEN = "given"
"""The source of a caller whom an operator or a service names."""


class Caller(NamedTuple):
    """Whom a request is charged to.

    Attributes:
        id: The user id in the clear; empty for a caller known by address only, so that no address passes for a user.
            It is not in the repr, and must not be in any log, key or label.
        digest: The id as a keyed hash, 32 hex digits, for keys and logs.
        tier: The user's tier; None if the source does not name one.
        address: The client's address; None if it is unknown.
        address_digest: The address, as it is limited (see `group`), as a keyed hash; None unless the caller is known by
            it, or it was asked for.
        source: What identified the caller: the kind of a source, `CLIENT_ADDRESS` or `GIVEN`.
    """

    id: str
    digest: bytes
    tier: str | None = None
    address: Address | Unix | None = None
    address_digest: bytes | None = None
    source: str = CLIENT_ADDRESS

    def __repr__(self) -> str:
        return f"Caller(digest={self.digest!r}, tier={self.tier!r})"
