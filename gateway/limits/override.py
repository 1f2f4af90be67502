"""`Override`: what an operator has set for a user or for addresses, instead of what the rules say, for some time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from gateway.limits.address import Network
from gateway.limits.bucket import Charge, Demand, Quota
from gateway.limits.caller import Caller
from gateway.limits.limit import live_name
from gateway.limits.network_map import NetworkMap
from gateway.limits.rate import Rate

BLOCKED = "(blocked)"
"""The limit that a blocked caller exceeds. No limit in the rules can have this name."""

_UNPAYABLE = Charge.of(BLOCKED, Quota(Rate(1, 1), 1), 2)
"""More than its bucket ever holds."""


class Effect(Enum):
    """What an override does."""

    QUOTA = "quota"
    """Another rate and burst, or another calendar quota, in the buckets of a user or a client; what was spent stays
    spent."""
    TIER = "tier"
    """Another tier than the identity source names."""
    EXEMPT = "exempt"
    """No limit applies."""
    BLOCK = "block"
    """Every request is refused, and charged to no bucket."""


@dataclass(frozen=True, slots=True)
class Override:
    """What is set for one user, or for each client in a network.

    Attributes:
        effect: What it does.
        expires_at: When it ends, in microseconds since 1970. Whoever keeps overrides removes it then.
        reason: Why, in the operator's words.
        endpoints: Names of the endpoints it applies to; empty for all.
        limits: Names of the limits that get another quota; empty for all in which it has a bucket.
        quota: For `Effect.QUOTA`. It counts for limits of the same form: a rate for those with a rate, one per month
            for those per month, by the limit's own calendar.
        tier: For `Effect.TIER`.
    """

    effect: Effect
    expires_at: int
    reason: str
    endpoints: frozenset[str] = frozenset()
    limits: frozenset[str] = frozenset()
    quota: Quota | None = None
    tier: str | None = None

    def covers(self, endpoint: str) -> bool:
        """Whether it applies to requests to `endpoint`."""
        return not self.endpoints or endpoint in self.endpoints

    def change(self, demands: Sequence[Demand], digest: bytes) -> list[Demand]:
        """A request's demands, with this quota in the buckets of the holder with this digest.

        A candidate's buckets get it as well: it would apply if the candidate were the limit.
        """
        return [
            Demand(key, charge.with_quota(self.quota.with_calendar_of(charge.quota)))
            if self.quota
            and self.quota.unit == charge.quota.unit
            and key.endswith(digest)
            and (not self.limits or live_name(charge.limit) in self.limits)
            else Demand(key, charge)
            for key, charge in demands
        ]


@dataclass(frozen=True, slots=True)
class Overrides:
    """All overrides.

    Attributes:
        users: By the digests of users.
        networks: By networks of clients, see `parse_clients`.
    """

    users: Mapping[bytes, Override] = field(default_factory=dict)
    networks: Mapping[Network, Override] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Block:
    """Whom the rule files block: every request is refused, and charged to no bucket.

    Attributes:
        users: Their ids.
        networks: Networks of clients, see `parse_clients`.
    """

    users: frozenset[str] = field(default=frozenset(), repr=False)
    networks: tuple[Network, ...] = ()


_BLOCKED = Override(Effect.BLOCK, 2**63, "the rules block it")


class OverrideIndex:
    """Finds what is set for a caller. Of a user or a network, an override comes before what the rule files block.

    Args:
        overrides: The overrides.
        block: Whom the rule files block.
    """

    __slots__ = ("_blocked", "_networks", "_users")

    def __init__(self, overrides: Overrides, block: Block) -> None:
        networks: dict[Network, tuple[Override, ...]] = dict.fromkeys(block.networks, (_BLOCKED,))
        for network, override in overrides.networks.items():
            networks[network] = (override, *networks.get(network, ()))
        self._users = overrides.users
        self._blocked = block.users
        self._networks = NetworkMap(networks)

    def of_user(self, endpoint: str, caller: Caller) -> Override | None:
        """What is set for the caller's user id at an endpoint."""
        override = self._users.get(caller.digest)
        if override is not None and override.covers(endpoint):
            return override
        return _BLOCKED if caller.id and caller.id in self._blocked else None

    def of_address(self, endpoint: str, caller: Caller) -> Override | None:
        """What is set for the longest prefix that covers the caller's address, at an endpoint."""
        for overrides in self._networks.matching(caller.address):
            for override in overrides:
                if override.covers(endpoint):
                    return override
        return None


def blocked(digest: bytes) -> list[Demand]:
    """The demands of a request whose user or address, with this digest, is blocked."""
    return [Demand(BLOCKED.encode() + b":" + digest, _UNPAYABLE)]
