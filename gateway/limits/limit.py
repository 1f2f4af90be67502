"""`Limit`: whom it counts, where, how much, and who is exempt."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.limits.address import Network, belongs
from gateway.limits.bucket import Outage, Quota
from gateway.limits.identity import Caller


@dataclass(frozen=True, slots=True)
class Exemption:
    """Callers that a limit does not count."""

    users: frozenset[str] = field(default=frozenset(), repr=False)
    networks: tuple[Network, ...] = ()

    def covers(self, caller: Caller) -> bool:
        """Whether the caller is exempt, by user id or by address."""
        return (caller.id != "" and caller.id in self.users) or belongs(caller.address, self.networks)


@dataclass(frozen=True, slots=True)
class Limit:
    """A rule of how much is allowed.

    Attributes:
        name: Unique; a metric label, and part of its buckets' keys.
        per_user: Each user has a bucket of their own.
        per_endpoint: Each endpoint has a bucket of its own.
        quota: Rate and burst.
        endpoints: Names of the endpoints it counts; empty for all, the default endpoint included.
        tiers: Quotas of users on a plan, by the plan's name; whoever is on none of them gets `quota`.
        enforce: False for a shadow limit: counted, never blocking.
        exempt: Whom it does not count.
        when_redis_is_down: What becomes of it while Redis is away.
    """

    name: str
    per_user: bool
    per_endpoint: bool
    quota: Quota
    endpoints: frozenset[str] = frozenset()
    tiers: Mapping[str, Quota] = field(default_factory=dict)
    enforce: bool = True
    exempt: Exemption = Exemption()
    when_redis_is_down: Outage = Outage.LOCAL

    def counts(self, endpoint: str) -> bool:
        """Whether requests to `endpoint` fall under this limit."""
        return not self.endpoints or endpoint in self.endpoints
