"""`Override`: what an operator has laid down for one user, over what the rules say, for a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.limits.bucket import Charge, Demand, Quota
from gateway.limits.identity import Caller
from gateway.limits.rate import Rate

BLOCKED = "(blocked)"
"""The limit that a blocked user is over. No limit of an operator's can be called so."""

_WALL = Charge.of(BLOCKED, Quota(Rate(1, 1), 1), 2)
"""A price that no bucket can pay."""


class Effect(Enum):
    """What an override does."""

    QUOTA = "quota"
    """Another rate and burst in the limits that count each user by themselves; what was spent stays spent."""
    TIER = "tier"
    """Another plan, whatever the identity source says."""
    EXEMPT = "exempt"
    """No limit counts."""
    BLOCK = "block"
    """Every request is refused, and costs nothing anywhere."""


@dataclass(frozen=True, slots=True)
class Override:
    """What is laid down for one user.

    Attributes:
        effect: What it does.
        expires_at: When it ends, in microseconds since 1970. Whoever keeps overrides takes it away then.
        reason: Why, in an operator's words.
        endpoints: Names of the endpoints it is about; empty for all.
        limits: Names of the limits that get another quota; empty for all that count each user by themselves.
        quota: For `Effect.QUOTA`.
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
        """Whether it is about requests to `endpoint`."""
        return not self.endpoints or endpoint in self.endpoints

    def change(self, demands: Sequence[Demand], caller: Caller) -> list[Demand]:
        """What a request has to pay under it, given what it would have to pay for the caller's tier."""
        if self.effect is Effect.EXEMPT:
            return []
        if self.effect is Effect.BLOCK:
            return [Demand(BLOCKED.encode() + b":" + caller.digest, _WALL)]
        return [
            Demand(key, _with(charge, self.quota))
            if self.quota and key.endswith(caller.digest) and (not self.limits or charge.limit in self.limits)
            else Demand(key, charge)
            for key, charge in demands
        ]


def _with(charge: Charge, quota: Quota) -> Charge:
    return Charge.of(charge.limit, quota, charge.cost, enforced=charge.enforced, outage=charge.outage)
