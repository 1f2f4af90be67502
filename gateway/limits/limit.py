"""`Limit`: how many requests are allowed, to which endpoints, for whom, and who is exempt."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from gateway.limits.address import Network, belongs
from gateway.limits.caller import Caller
from gateway.limits.charge import FailurePolicy
from gateway.limits.claimed_rate import ClaimedRate
from gateway.limits.holder import ENDPOINT, Holder, Part
from gateway.limits.priority import NO_RESERVE, Reserve
from gateway.limits.quota import Quota
from gateway.limits.schedule import Scheduled, in_force

_CANDIDATE = " (candidate)"
_SHARE_DIGITS, _SHARES = 8, 2**32
"""Hex digits of a digest that say whether its holder is among a share of all: one part in four thousand million."""


@dataclass(frozen=True, slots=True)
class Exemption:
    """Callers to whom a limit does not apply."""

    users: frozenset[str] = field(default=frozenset(), repr=False)
    networks: tuple[Network, ...] = ()
    attributes: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.users or self.networks or self.attributes)

    def covers(self, caller: Caller) -> bool:
        """Whether the caller is exempt, by user id, by address or by an attribute."""
        return (
            (caller.id != "" and caller.id in self.users)
            or belongs(caller.address, self.networks)
            or not self.attributes.isdisjoint(caller.attributes.items())
        )


class Missing(Enum):
    """What a limit per attribute does with requests whose caller lacks it: the setting `if_missing`."""

    SKIP = "skip"
    """It does not count them."""
    REFUSE = "refuse"
    """It refuses them, as if they were over it."""
    SHARED = "shared"
    """All of them share one bucket."""


class Over(Enum):
    """What a limit does with requests that are over it: the setting `over`."""

    REFUSE = "refuse"
    """They get the generic 429."""
    TELL = "tell"
    """They pass, and the upstream is told the limit's name."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another quota that a limit might have: counted in buckets of its own, beside the live ones, and never refused.

    Attributes:
        quota: Rate and burst.
        tiers: Quotas of users in a tier, by the tier's name.
    """

    quota: Quota
    tiers: Mapping[str, Quota] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes:
        name: Unique; a metric label, and part of its buckets' keys.
        per: Of what it has a bucket each: ``user``, ``address``, a network as `Prefixes`, attributes of callers,
            ``endpoint``, or what each combination of them stands for. Empty for one bucket for all.
        quota: Rate and burst, or how much in each period of a calendar.
        endpoints: Names of the endpoints it applies to; empty for all, the default endpoint included.
        tiers: Quotas of users in a tier, by the tier's name; users in none of these tiers get `quota`. All have the
            same calendar, or none has.
        from_claim: Where a caller's own rate stands, which comes before `quota`, `tiers` and `schedule`; None if
            nowhere.
        enforce: The share of callers whom it refuses, 0 to 1. It counts the others, and never refuses them; with 0 it
            is a shadow limit.
        if_missing: What it does with requests whose caller lacks an attribute that it is per.
        over: What it does with requests that are over it. With `TELL` it is enforced for all callers, and refuses none.
        candidate: What it might be instead; of a calendar quota, another by the same calendar.
        exempt: To whom it does not apply.
        schedule: What it has instead of `quota` and `tiers` at certain times; the first entry that applies counts.
        reserve: The parts of its buckets that are kept for requests of a higher priority.
        when_redis_is_down: What becomes of it while Redis is unavailable.
    """

    name: str
    per: tuple[Part, ...]
    quota: Quota
    endpoints: frozenset[str] = frozenset()
    tiers: Mapping[str, Quota] = field(default_factory=dict)
    enforce: float = 1.0
    exempt: Exemption = Exemption()
    when_redis_is_down: FailurePolicy = FailurePolicy.WHOLE
    candidate: Candidate | None = None
    reserve: Reserve = NO_RESERVE
    schedule: tuple[Scheduled, ...] = ()
    over: Over = Over.REFUSE
    if_missing: Missing = Missing.SKIP
    from_claim: ClaimedRate | None = None

    @property
    def holder(self) -> Holder | None:
        """Who has a bucket to themselves; None if all callers share one."""
        return Holder.of(self.per)

    @property
    def per_endpoint(self) -> bool:
        """Whether each endpoint has a bucket of its own."""
        return ENDPOINT in self.per

    @property
    def refuses(self) -> bool:
        """Whether it refuses anybody."""
        return self.enforce > 0 and self.over is Over.REFUSE

    @property
    def is_partial(self) -> bool:
        """Whether it refuses some callers and only counts the others."""
        return 0 < self.enforce < 1

    def enforces(self, holder: bytes) -> bool:
        """Whether it refuses the holder of a bucket with this digest. A larger share includes all of a smaller one."""
        return int(holder[:_SHARE_DIGITS], 16) < self.enforce * _SHARES

    def at(self, now: int) -> "Limit":
        """The limit as its schedule has it at an instant, in microseconds since 1970."""
        position = in_force(self.schedule, now)
        if position is None:
            return self
        entry = self.schedule[position]
        return replace(self, quota=entry.quota, tiers=entry.tiers)

    def applies_to(self, endpoint: str) -> bool:
        """Whether requests to `endpoint` fall under this limit."""
        return not self.endpoints or endpoint in self.endpoints


def candidate_name(limit: str) -> str:
    """The name under which a limit's candidate is counted. No limit in the rules can have it."""
    return limit + _CANDIDATE


def live_name(name: str) -> str:
    """The limit's name, be it the name of the limit or of its candidate."""
    return name.removesuffix(_CANDIDATE)


def is_candidate(name: str) -> bool:
    """Whether a name stands for a limit's candidate."""
    return name.endswith(_CANDIDATE)


def format_share(share: float) -> str:
    """A share of callers as the rule files write it: ``true``, ``false`` or ``10%``."""
    return {0.0: "false", 1.0: "true"}.get(share, f"{share * 100:.6g}%")
