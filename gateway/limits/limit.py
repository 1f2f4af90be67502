"""`Limit`: how many requests are allowed, to which endpoints, for whom, and who is exempt."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.limits.address import Network, belongs
from gateway.limits.bucket import FailurePolicy, Quota
from gateway.limits.identity import Caller

USER, ADDRESS, ENDPOINT = "user", "address", "endpoint"
"""Of what a limit may have a bucket each, see `Limit.per`."""


@dataclass(frozen=True, slots=True)
class Exemption:
    """Callers to whom a limit does not apply."""

    users: frozenset[str] = field(default=frozenset(), repr=False)
    networks: tuple[Network, ...] = ()

    def covers(self, caller: Caller) -> bool:
        """Whether the caller is exempt, by user id or by address."""
        return (caller.id != "" and caller.id in self.users) or belongs(caller.address, self.networks)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes:
        name: Unique; a metric label, and part of its buckets' keys.
        per: Of what it has a bucket each: of each `USER` or each client's `ADDRESS`, and of each `ENDPOINT`, or of
            each pair of them. Empty for one bucket for all.
        quota: Rate and burst.
        endpoints: Names of the endpoints it applies to; empty for all, the default endpoint included.
        tiers: Quotas of users in a tier, by the tier's name; users in none of these tiers get `quota`.
        enforce: False for a shadow limit, which counts and never refuses.
        exempt: To whom it does not apply.
        when_redis_is_down: What becomes of it while Redis is unavailable.
    """

    name: str
    per: tuple[str, ...]
    quota: Quota
    endpoints: frozenset[str] = frozenset()
    tiers: Mapping[str, Quota] = field(default_factory=dict)
    enforce: bool = True
    exempt: Exemption = Exemption()
    when_redis_is_down: FailurePolicy = FailurePolicy.WHOLE

    @property
    def holder(self) -> str | None:
        """Who has a bucket to themselves: `USER` or `ADDRESS`; None if all callers share one."""
        return next((each for each in self.per if each != ENDPOINT), None)

    @property
    def per_endpoint(self) -> bool:
        """Whether each endpoint has a bucket of its own."""
        return ENDPOINT in self.per

    def applies_to(self, endpoint: str) -> bool:
        """Whether requests to `endpoint` fall under this limit."""
        return not self.endpoints or endpoint in self.endpoints
