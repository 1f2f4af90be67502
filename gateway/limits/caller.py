"""`Caller`: whom a request is charged to."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from gateway.limits.address import Address, Unix

CLIENT_ADDRESS: Final = "client_address"
"""The source of a caller who is known by nothing else."""

GIVEN: Final = "given"
"""The source of a caller whom an operator or a service names."""


MISSING: Final = b""
"""The digest of a holder whom a caller is not, because an attribute is missing. Nobody else has it."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""No attributes, or no digests."""


@dataclass(init=False, repr=False, slots=True)
class Caller:
    """Whom a request is charged to.

    Attributes:
        id: The user id in the clear; empty for a caller known by address only, so that no address passes for a user.
            It is not in the repr, and must not be in any log, key or label.
        digest: The id as a keyed hash, 32 hex digits, for keys and logs.
        tier: The user's tier; None if the source does not name one.
        address: The client's address; None if it is unknown.
        digests: By the names of holders of buckets, what stands for the caller: keyed hashes like the other, of those
            that were asked for. `MISSING` if an attribute is missing; not there if it is not known whether it is.
        source: What identified the caller: the kind of a source, `CLIENT_ADDRESS` or `GIVEN`.
        attributes: Verified attributes in the clear, to be kept out of logs, keys and labels, too.
    """

    id: Final[str]
    digest: Final[bytes]
    tier: Final[str | None]
    address: Final[Address | Unix | None]
    digests: Final[Mapping[str, bytes]]
    source: Final[str]
    attributes: Final[Mapping[str, str]]

    def __init__(
        self,
        id: str,  # noqa: A002 - it is called so everywhere
        digest: bytes, tier: str | None = None, address: Address | Unix | None = None,
        digests: Mapping[str, bytes] = NOTHING, source: str = CLIENT_ADDRESS, attributes: Mapping[str, str] = NOTHING,
    ) -> None:  # fmt: skip
        self.id = id
        self.digest = digest
        self.tier = tier
        self.address = address
        self.digests = digests
        self.source = source
        self.attributes = attributes

    def in_tier(self, tier: str | None) -> "Caller":
        """The same caller in another tier."""
        return replace(self, tier=tier)

    def __repr__(self) -> str:
        return f"Caller(digest={self.digest!r}, tier={self.tier!r})"
