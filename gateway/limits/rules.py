"""`Rules`: the active endpoints and limits, compiled so that a request costs a look-up and no arithmetic."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace

from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.claimed_rate import Unusable, UnusableClaim
from gateway.limits.compiled_limit import CompiledLimit, LimitCompiler
from gateway.limits.condition import NO_FIELDS, RequestFields
from gateway.limits.endpoint import DEFAULT, Endpoint
from gateway.limits.holder import BY_ADDRESS, USER
from gateway.limits.limit import Limit
from gateway.limits.override import Block, Effect, Override, Overrides, blocked
from gateway.limits.override_precedence import OverridePrecedence
from gateway.limits.path import PathPolicy
from gateway.limits.priority import Priority, priority_of
from gateway.limits.router import Router
from gateway.limits.schedule import first_change
from gateway.limits.unmatched import Unmatched


class Rules:
    """The active endpoints and limits; never changed, only replaced as a whole.

    Args:
        endpoints: If the default endpoint is missing, one is added that costs 1.
        limits: In the order of the rule files.
        paths: How to read a path.
        revision: Hash of the rule files; empty if there are none.
        block: Whose requests are all refused.
        priorities: By tier, how much requests of its callers matter whose endpoint does not say it.

    Attributes:
        endpoints: By name, the default endpoint included.
        limits: All limits, as they are written.
        in_force: The limits as their schedules have them at the instant given to `at`.
        changes_at: The instant, in microseconds since 1970, at which a schedule changes next; 0 before `at` was called,
            None if there is nothing to change.
        default: The endpoint of requests that match no other.
        block: As given.
        priorities: As given.
        overrides: What is set for single users and addresses.
        claiming: The limits with a rate that callers state.
        exempting: The limits from which somebody is exempt.
        has_overrides: Whether anything is set, or anybody is blocked.
        has_quotas: Whether a limit has a calendar quota.
        settling: Names of the endpoints whose requests have something to settle when they end.
        tiers: Names of the tiers that some limit knows.
        holders: Of buckets and overrides, other than users: what `Identity.identify` needs to know.
    """

    __slots__ = (
        "_compiled",
        "_precedence",
        "_router",
        "block",
        "changes_at",
        "claiming",
        "default",
        "endpoints",
        "exempting",
        "has_overrides",
        "has_quotas",
        "holders",
        "in_force",
        "limits",
        "overrides",
        "paths",
        "priorities",
        "revision",
        "settling",
        "tiers",
    )

    def __init__(
        self,
        endpoints: Iterable[Endpoint] = (),
        limits: Iterable[Limit] = (),
        *,
        paths: PathPolicy | None = None,
        revision: str = "",
        block: Block | None = None,
        priorities: Mapping[str, Priority] | None = None,
    ) -> None:
        self.paths = paths or PathPolicy()
        self.endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self.default = self.endpoints.setdefault(DEFAULT, Endpoint(DEFAULT))
        self.limits = tuple(limits)
        self.claiming = tuple(limit for limit in self.limits if limit.from_claim)
        self.exempting = tuple(limit for limit in self.limits if limit.exempt)
        self.has_quotas = any(limit.quota.calendar is not None for limit in self.limits)
        quotas = [each for limit in self.limits for each in (limit, limit.candidate) if each is not None]
        self.priorities = dict(priorities or {})
        self.tiers = frozenset((*(name for each in quotas for name in each.tiers), *self.priorities))
        self.revision = revision
        self.block = block or Block()
        self._apply(Overrides())
        self._router = Router(self.endpoints.values(), case_sensitive=self.paths.case_sensitive)
        self.changes_at: int | None = 0 if any(limit.schedule for limit in self.limits) else None
        self._compile(self.limits)

    def _compile(self, in_force: tuple[Limit, ...]) -> None:
        self.in_force = in_force
        self._compiled: dict[str, list[CompiledLimit]] = {name: [] for name in self.endpoints}
        measured = frozenset(name for name, each in self.endpoints.items() if each.measured_cost is not None)
        at_once = [name for each in in_force if each.quota.at_once for name in self.endpoints if each.applies_to(name)]
        self.settling = measured.union(at_once)
        for limit in in_force:
            names = self.endpoints if not limit.endpoints else self.endpoints.keys() & limit.endpoints
            compiler = LimitCompiler(limit, self.priorities, refunds=not measured.isdisjoint(names))
            for name in names:
                self._compiled[name] += compiler.compile(self.endpoints[name])

    def is_measured(self, endpoint: str) -> bool:
        """Whether the cost of requests to an endpoint is known only when they have ended."""
        known = self.endpoints.get(endpoint)
        return known is not None and known.measured_cost is not None

    @property
    def clashes(self) -> list[tuple[Endpoint, Endpoint]]:
        """Pairs of endpoints that match the same requests, see `Router`."""
        return self._router.clashes

    def match(self, method: str, host: str, path: str, fields: RequestFields = NO_FIELDS) -> Endpoint | Unmatched:
        """The endpoint of a request, or why the request has to be rejected.

        Args:
            method: In upper case.
            host: In lower case, without port.
            path: As the client sent it, without the query; see `PathPolicy`.
            fields: What conditions read.
        """
        segments = self.paths.segments(path)
        if segments is None:
            return Unmatched.PATH
        return self._router.match(method, host, segments, fields) or self.default

    def at(self, now: int) -> "Rules":
        """The same rules as the schedules of limits have them at an instant, in microseconds since 1970."""
        scheduled = [limit.schedule for limit in self.limits if limit.schedule]
        if not scheduled:
            return self
        other = copy(self)
        other._compile(tuple(limit.at(now) for limit in self.limits))  # noqa: SLF001 - one of our own class
        other.changes_at = first_change(scheduled, now)
        return other

    def with_overrides(self, overrides: Overrides) -> "Rules":
        """The same rules with other overrides."""
        other = copy(self)
        other._apply(overrides)  # noqa: SLF001 - one of our own class
        return other

    def without_overrides(self) -> "Rules":
        """The same rules if nothing were set for anybody, and nobody were blocked."""
        other = copy(self)
        other.block = Block()
        other._apply(Overrides())  # noqa: SLF001 - as above
        return other

    def as_if_enforced(self) -> "Rules":
        """The same rules without overrides, if each limit that refuses a share of callers refused all.

        For tests of rules, whose callers are made up.
        """
        if not any(limit.is_partial for limit in self.limits):
            return self.with_overrides(Overrides())
        limits = [replace(limit, enforce=1.0) if limit.is_partial else limit for limit in self.limits]
        return Rules(
            self.endpoints.values(),
            limits,
            paths=self.paths,
            revision=self.revision,
            block=self.block,
            priorities=self.priorities,
        )

    def _apply(self, overrides: Overrides) -> None:
        self.overrides = overrides
        self.has_overrides = bool(overrides or self.block)
        self._precedence = OverridePrecedence(overrides, self.block) if self.has_overrides else None
        wanted = [limit.holder for limit in self.limits]
        if overrides.networks or self.block.networks:
            wanted.append(BY_ADDRESS)
        wanted += overrides.attributes
        self.holders = tuple(dict.fromkeys(each for each in wanted if each is not None and each.name != USER))

    def demands(self, endpoint: Endpoint, caller: Caller) -> list[Demand]:
        """The buckets that a request is charged to, and how much each. Empty if no limit applies.

        Limits do not apply to a caller of whom it is not known who their holder is, see `Caller.digests`.
        """
        if self._precedence is None:
            return self._demands(endpoint, caller)
        found = self._precedence.find(endpoint.name, caller, self.holders)
        if any(override.effect is Effect.BLOCK for override, _ in found):
            return blocked(caller.digest)
        if any(override.effect is Effect.EXEMPT for override, _ in found):
            return []
        demands = self._demands(endpoint, caller.in_tier(self._precedence.tier_of(endpoint.name, caller)))
        for override, digests in reversed(found):
            demands = override.change(demands, digests)
        return demands

    def tier_of(self, endpoint: str, caller: Caller) -> str | None:
        """The tier that counts for a caller at an endpoint: that of an override, or else the caller's own."""
        return caller.tier if self._precedence is None else self._precedence.tier_of(endpoint, caller)

    def priority(self, endpoint: Endpoint, tier: str | None) -> Priority:
        """How much a request to an endpoint matters, whose caller is in a tier."""
        return priority_of(endpoint.priority, self.priorities.get(tier) if tier else None)

    def known_tier(self, caller: Caller) -> str:
        """The caller's own tier if a limit knows it; else empty, because any other name is the client's own text."""
        return caller.tier if caller.tier is not None and caller.tier in self.tiers else ""

    def overrides_of(self, endpoint: str, caller: Caller) -> tuple[Override, ...]:
        """What is set for a caller's user id, attributes and address, at an endpoint; also what blocks them."""
        if self._precedence is None:
            return ()
        return tuple(override for override, _ in self._precedence.find(endpoint, caller, self.holders))

    def unusable_claims(self, endpoint: Endpoint, caller: Caller) -> list[UnusableClaim]:
        """The limits that count a user with another rate than the one in the user's attribute, or have none there."""
        if not caller.id:
            return []
        return [
            UnusableClaim(limit.name, limit.from_claim.attribute, rate)
            for limit in self.claiming
            if limit.from_claim is not None
            and limit.applies_to(endpoint.name)
            and isinstance(rate := limit.from_claim.read(caller.attributes), Unusable)
            and not limit.exempt.covers(caller)
        ]

    def exempt(self, endpoint: Endpoint, caller: Caller) -> list[str]:
        """The names of the limits that would apply to a request if its caller were not exempt."""
        return [
            limit.name for limit in self.exempting if limit.applies_to(endpoint.name) and limit.exempt.covers(caller)
        ]

    def _demands(self, endpoint: Endpoint, caller: Caller) -> list[Demand]:
        demands = []
        for (
            limit, key, holder, charge, tiers, shadow, missing, claimed, tells_callers_apart,
        ) in self._compiled[endpoint.name]:  # fmt: skip
            if tells_callers_apart and limit.exempt.covers(caller):
                continue
            if holder is not None:
                digest = caller.digest if holder == USER else caller.digests.get(holder)
                if not digest:
                    if digest is not None and missing is not None:
                        demands.append(Demand(key, missing))
                    continue
                key += digest  # noqa: PLW2901 - each compiled key is the head of many
                if tells_callers_apart and shadow is not None and not limit.enforces(digest):
                    charge, tiers = shadow  # noqa: PLW2901 - as above
            if tiers and caller.tier:
                charge = tiers.get(caller.tier, charge)  # noqa: PLW2901 - as above
            demands.append(Demand(key, claimed.of(charge, caller.attributes) if claimed else charge))
        return demands


@dataclass(slots=True)
class RuleBook:
    """The active rules: the one thing in the gateway that changes. A request reads it once."""

    current: Rules
