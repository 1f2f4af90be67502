"""`Override`: what an operator has set for a user or for addresses, instead of what the rules say, for some time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from gateway.limits.address import Network
from gateway.limits.charge import Charge, Demand
from gateway.limits.holder import Holder
from gateway.limits.limit import live_name
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate

BLOCKED = "(blocked)"
"""The limit that a blocked caller exceeds. No limit in the rules can have this name."""

_CLOSED = Charge.of(BLOCKED, Quota(Rate(1, 1), 1)).closed()


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

    def change(self, demands: Sequence[Demand], digests: tuple[bytes, ...]) -> list[Demand]:
        """A request's demands, with this quota in the buckets of the holders with these digests.

        A candidate's buckets get it as well: it would apply if the candidate were the limit.
        """
        return [
            Demand(each.key, each.charge.with_quota(self.quota.with_calendar_of(each.charge.quota)))
            if self.quota
            and self.quota.unit == each.charge.quota.unit
            and each.key.endswith(digests)
            and (not self.limits or live_name(each.charge.limit) in self.limits)
            else each
            for each in demands
        ]


@dataclass(frozen=True, slots=True)
class Overrides:
    """All overrides.

    Attributes:
        users: By the digests of users.
        networks: By networks of clients, see `parse_clients`.
        attributes: By the digests of those whom attributes tell apart, such as organizations.
    """

    users: Mapping[bytes, Override] = field(default_factory=dict)
    networks: Mapping[Network, Override] = field(default_factory=dict)
    attributes: Mapping[Holder, Mapping[bytes, Override]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.users or self.networks or self.attributes)


@dataclass(frozen=True, slots=True)
class Block:
    """Whom the rule files block: every request is refused, and charged to no bucket.

    Attributes:
        users: Their ids.
        networks: Networks of clients, see `parse_clients`.
        attributes: Names and values of callers' attributes.
    """

    users: frozenset[str] = field(default=frozenset(), repr=False)
    networks: tuple[Network, ...] = ()
    attributes: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.users or self.networks or self.attributes)


def blocked(digest: bytes) -> list[Demand]:
    """The demands of a request whose user or address, with this digest, is blocked."""
    return [Demand(BLOCKED.encode() + b":" + digest, _CLOSED)]
