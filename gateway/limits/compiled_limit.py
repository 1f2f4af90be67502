"""`LimitCompiler`: a limit as it applies to each endpoint: keys of buckets, and what requests are charged."""

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple
from urllib.parse import quote

from gateway.limits.caller import MISSING
from gateway.limits.charge import Charge
from gateway.limits.claimed_rate import ClaimedCharges
from gateway.limits.endpoint import Endpoint
from gateway.limits.limit import Candidate, Limit, Missing, Over, candidate_name
from gateway.limits.priority import Priority, priority_of
from gateway.limits.quota import Quota

_AT_ONCE = "+at-once"
"""What the keys of buckets have after the limit's name that count requests in flight."""


class Prices(NamedTuple):
    """What a request costs in a limit's buckets.

    Attributes:
        charge: What it costs.
        tiers: What it costs users in a tier.
    """

    charge: Charge
    tiers: dict[str, Charge]


class CompiledLimit(NamedTuple):
    """A limit, or its candidate, as it applies to one endpoint.

    Attributes:
        limit: The limit.
        key: The bucket's key; if it has a holder, the holder's digest is appended.
        holder: The name of whose bucket it is, see `Limit.holder`.
        charge: What a request costs.
        tiers: What it costs users in a tier.
        shadow: The same for callers whom the limit does not refuse; None if it treats all alike.
        missing: What callers are charged who lack an attribute; None for nothing.
        claimed: What it costs callers who state a rate; None if none do.
        tells_callers_apart: Whether anybody is exempt, or `shadow` has to be looked at.
    """

    limit: Limit
    key: bytes
    holder: str | None
    charge: Charge
    tiers: dict[str, Charge]
    shadow: Prices | None
    missing: Charge | None
    claimed: ClaimedCharges | None
    tells_callers_apart: bool


class LimitCompiler:
    """Compiles a limit for each endpoint.

    Endpoints of the same cost and priority share charges: there may be thousands of them.

    Args:
        limit: The limit.
        priorities: Those of tiers, by the tier's name.
        refunds: Whether it counts an endpoint whose cost is measured.
    """

    def __init__(self, limit: Limit, priorities: Mapping[str, Priority], *, refunds: bool) -> None:
        self._limit = limit
        self._refunds = refunds
        self._priorities = priorities if limit.reserve else {}
        calendar = limit.quota.calendar
        # Counted from other starts, a state would mean something else: with another form come other buckets.
        form = _AT_ONCE if limit.quota.at_once else "" if calendar is None else f"@{_quoted(calendar.key)}"
        self._name = _quoted(limit.name) + form
        self._shared: dict[tuple[int, Priority | None, bool], list[CompiledLimit]] = {}

    def compile(self, endpoint: Endpoint) -> list[CompiledLimit]:
        """The limit, and after it its candidate if it has one."""
        # A bucket that others share with this endpoint is refunded for theirs as well.
        refunds = endpoint.measured_cost is not None if self._limit.per_endpoint else self._refunds
        at_once = self._limit.quota.at_once
        kind = 1 if at_once else endpoint.cost, endpoint.priority, refunds or at_once
        shared = self._shared.get(kind)
        if shared is None:
            shared = self._shared[kind] = self._make(*kind)
        if not self._limit.per_endpoint:
            return shared
        name = _quoted(endpoint.name)
        keys = self._key(name), self._candidate_key(name)
        return [each._replace(key=key) for each, key in zip(shared, keys, strict=False)]

    def _make(self, cost: int, priority: Priority | None, refunds: bool) -> list[CompiledLimit]:
        limit, candidate = self._limit, self._limit.candidate
        has_exempt = bool(limit.exempt)
        holder = limit.holder.name if limit.holder else None
        tells = limit.over is Over.TELL
        live = self._prices(limit.name, limit, cost, priority, enforced=limit.refuses, tells=tells, refunds=refunds)
        shadow = self._prices(limit.name, limit, cost, priority, refunds=refunds) if limit.is_partial else None
        # Those who lack an attribute are not a share of callers, so a limit that refuses a share counts them only.
        missing = self._if_missing((shadow or live).charge)
        tells_apart = has_exempt or limit.is_partial
        # Also of the smallest rate, each priority can take a token.
        least = max(ceil(1 / (1 - limit.reserve.kept_from(each))) for each in Priority)
        claimed = ClaimedCharges(limit.from_claim, least) if limit.from_claim else None
        compiled = [CompiledLimit(limit, self._key("*"), holder, *live, shadow, missing, claimed, tells_apart)]
        if candidate is not None:
            prices = self._prices(candidate_name(limit.name), candidate, cost, priority, refunds=refunds)
            key = self._candidate_key("*")
            missing = self._if_missing(prices.charge)
            compiled.append(CompiledLimit(limit, key, holder, *prices, None, missing, None, has_exempt))
        return compiled

    def _if_missing(self, charge: Charge) -> Charge | None:
        if self._limit.if_missing is Missing.SKIP:
            return None
        return charge if self._limit.if_missing is Missing.SHARED else charge.closed()

    def _prices(
        self,
        name: str,
        sizes: Limit | Candidate,
        cost: int,
        priority: Priority | None,
        *,
        refunds: bool,
        enforced: bool = False,
        tells: bool = False,
    ) -> Prices:
        def charge(quota: Quota, of_tier: Priority | None = None) -> Charge:
            policy = self._limit.when_redis_is_down
            reserve = self._limit.reserve.kept_from(priority_of(priority, of_tier))
            return Charge.of(
                name, quota, cost, enforced=enforced, failure_policy=policy, reserve=reserve, tells=tells,
                refunds=refunds,
            )  # fmt: skip

        tiers = {**dict.fromkeys(self._priorities, sizes.quota), **sizes.tiers}
        in_tier = {tier: charge(each, self._priorities.get(tier)) for tier, each in tiers.items()}
        return Prices(charge(sizes.quota), in_tier)

    def _key(self, endpoint: str) -> bytes:
        return f"{self._name}:{endpoint}:{'' if self._limit.holder else '*'}".encode()

    def _candidate_key(self, endpoint: str) -> bytes:
        return f"{self._name}+candidate:{endpoint}:{'' if self._limit.holder else '*'}".encode()


def digest_in(key: bytes) -> bytes | None:
    """The digest of whoever has the bucket with this key to themselves; None if it is for all, or all without one."""
    digest = key.rpartition(b":")[2]
    return None if digest in (b"*", MISSING) else digest


def _quoted(name: str) -> str:
    """A name without colon or star, so that no two buckets share a key, or braces, which mean a hash tag to Redis."""
    return quote(name, safe="")
