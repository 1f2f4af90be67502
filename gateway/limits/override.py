"""`Override`: what an operator has set for one user, instead of what the rules say, for some time."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.limits.bucket import Charge, Demand, Quota
from gateway.limits.identity import Caller
from gateway.limits.rate import Rate

BLOCKED = "(blocked)"
"""The limit that a blocked user exceeds. No limit in the rules can have this name."""

_UNPAYABLE = Charge.of(BLOCKED, Quota(Rate(1, 1), 1), 2)
"""More than its bucket ever holds."""


class Effect(Enum):
    """What an override does."""

    QUOTA = "quota"
    """Another rate and burst in limits per user; what was spent stays spent."""
    TIER = "tier"
    """Another tier than the identity source names."""
    EXEMPT = "exempt"
    """No limit applies."""
    BLOCK = "block"
    """Every request is refused, and charged to no bucket."""


@dataclass(frozen=True, slots=True)
class Override:
    """What is set for one user.

    Attributes:
        effect: What it does.
        expires_at: When it ends, in microseconds since 1970. Whoever keeps overrides removes it then.
        reason: Why, in the operator's words.
        endpoints: Names of the endpoints it applies to; empty for all.
        limits: Names of the limits that get another quota; empty for all limits per user.
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
        """Whether it applies to requests to `endpoint`."""
        return not self.endpoints or endpoint in self.endpoints

    def change(self, demands: Sequence[Demand], caller: Caller) -> list[Demand]:
        """A request's demands under this override, given its demands for the caller's tier."""
        if self.effect is Effect.EXEMPT:
            return []
        if self.effect is Effect.BLOCK:
            return [Demand(BLOCKED.encode() + b":" + caller.digest, _UNPAYABLE)]
        return [
            Demand(key, charge.with_quota(self.quota))
            if self.quota and key.endswith(caller.digest) and (not self.limits or charge.limit in self.limits)
            else Demand(key, charge)
            for key, charge in demands
        ]
