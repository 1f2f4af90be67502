"""`Holder`: who has a bucket to themselves: a user, a client, a network, an organization, one of its teams."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from gateway.limits.address import Network

USER, ADDRESS, NETWORK, ENDPOINT, ALL = "user", "address", "network", "endpoint", "all"
"""Of what a limit may have a bucket each, see `gateway.limits.limit.Limit.per`, beside attributes of callers."""

RESERVED: Final = frozenset({USER, ADDRESS, NETWORK, ENDPOINT, ALL, "tier"})
"""What no attribute is called."""

ATTRIBUTE_NAME: Final = "[a-z][a-z0-9_-]{0,31}"
_ATTRIBUTE_NAME: Final = re.compile(ATTRIBUTE_NAME, re.ASCII)


def is_attribute_name(name: str) -> bool:
    """Whether an attribute may have this name."""
    return _ATTRIBUTE_NAME.fullmatch(name) is not None and name not in RESERVED


class Prefixes(NamedTuple):
    """How many bits of an address say who has a bucket.

    Attributes:
        ipv4: Of an IPv4 address, 1 to 32.
        ipv6: Of an IPv6 address, 1 to 64: one client commonly has a /64 (RFC 6177).
    """

    ipv4: int = 32
    ipv6: int = 64

    def of(self, version: int) -> int:
        """The length for IPv4 or IPv6 addresses."""
        return self.ipv4 if version == 4 else self.ipv6  # noqa: PLR2004

    def __str__(self) -> str:
        return f"{NETWORK}/{self.ipv4},{self.ipv6}"


CLIENT: Final = Prefixes()
"""One client: what `ADDRESS` stands for."""

Part = str | Prefixes
"""What a bucket is each for: one of the words above, `Prefixes`, or the name of an attribute."""


def name_part(part: Part) -> str:
    """A part in a sentence: ``org``, or ``network /24, /48``."""
    return part if isinstance(part, str) else f"{NETWORK} /{part.ipv4}, /{part.ipv6}"


def document_of(per: Iterable[Part]) -> list[Any]:
    """Parts in JSON, as the rule files have them."""
    return [part if isinstance(part, str) else {NETWORK: part._asdict()} for part in per] or [ALL]


class Holder(NamedTuple):
    """Who has a bucket to themselves.

    Attributes:
        name: No other has it: ``user``, ``address``, ``network/24,48``, ``org`` or ``org,team``.
        attributes: Names of the attributes that say it, sorted.
        user: Whether the user id says it, too, or alone.
        prefixes: How much of the address says it; None if nothing does.
    """

    name: str
    attributes: tuple[str, ...] = ()
    user: bool = False
    prefixes: Prefixes | None = None

    @classmethod
    def of(cls, per: Iterable[Part]) -> "Holder | None":
        """Who has a bucket of a limit with these parts to themselves; None if all callers share it."""
        parts = [part for part in per if part != ENDPOINT]
        if not parts:
            return None
        prefixes = next(_prefixes(parts), None)
        if prefixes is not None:
            return cls(ADDRESS if prefixes == CLIENT else str(prefixes), prefixes=prefixes)
        attributes = tuple(sorted(part for part in parts if isinstance(part, str) and part != USER))
        is_user = USER in parts
        return cls(",".join([*attributes, *[USER] * is_user]), attributes, is_user)

    @property
    def is_shared(self) -> bool:
        """Whether callers who are told apart otherwise share its bucket."""
        return not self.user and self.prefixes != CLIENT

    def lies_in(self, network: Network) -> bool:
        """Whether all callers of a bucket with a caller from a network are from that network."""
        return self.prefixes is not None and self.prefixes.of(network.version) >= network.prefixlen


def _prefixes(parts: Iterable[Part]) -> Iterator[Prefixes]:
    for part in parts:
        if isinstance(part, Prefixes):
            yield part
        elif part == ADDRESS:
            yield CLIENT


BY_ADDRESS: Final = Holder(ADDRESS, prefixes=CLIENT)
"""Each client."""
