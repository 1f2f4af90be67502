"""`Rules`: endpoints and limits in force, compiled so that a request costs a look-up and no arithmetic."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from gateway.limits.bucket import Charge, Demand, Quota
from gateway.limits.endpoint import DEFAULT, Endpoint
from gateway.limits.identity import Caller
from gateway.limits.limit import Limit
from gateway.limits.override import Override
from gateway.limits.path import PathPolicy
from gateway.limits.router import Router


class _CompiledLimit(NamedTuple):
    """A limit as it applies to one endpoint: which key, and what to charge by tier."""

    limit: Limit
    key: bytes
    by_user: bool
    charge: Charge
    tiers: dict[str, Charge]
    has_exempt: bool


class Rules:
    """Endpoints and limits in force; never changed, only replaced as a whole.

    Args:
        endpoints: Without the default endpoint, one is added that costs 1.
        limits: In the order in which the operator wrote them.
        paths: How to read a path.
        revision: Hash of the files the rules were read from; empty when they were read from none.

    Attributes:
        endpoints: By name, the default endpoint included.
        limits: All limits.
        default: The endpoint of requests that match no other.
        overrides: What is laid down for single users, by their digests.
        exempting: Those of the limits that do not count everybody.
    """

    __slots__ = ("_router", "_tolls", "default", "endpoints", "exempting", "limits", "overrides", "paths", "revision")

    def __init__(
        self,
        endpoints: Iterable[Endpoint] = (),
        limits: Iterable[Limit] = (),
        *,
        paths: PathPolicy | None = None,
        revision: str = "",
    ) -> None:
        self.paths = paths or PathPolicy()
        self.endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self.default = self.endpoints.setdefault(DEFAULT, Endpoint(DEFAULT))
        self.limits = tuple(limits)
        self.exempting = tuple(limit for limit in self.limits if limit.exempt.users or limit.exempt.networks)
        self.revision = revision
        self.overrides: Mapping[bytes, Override] = {}
        self._router = Router(self.endpoints.values(), case_sensitive=self.paths.case_sensitive)
        self._tolls: dict[str, list[_CompiledLimit]] = {name: [] for name in self.endpoints}
        for limit in self.limits:
            tariff = _CompiledLimits(limit)
            for name in self.endpoints if not limit.endpoints else self.endpoints.keys() & limit.endpoints:
                self._tolls[name].append(tariff.toll(self.endpoints[name]))

    @property
    def clashes(self) -> list[tuple[Endpoint, Endpoint]]:
        """Pairs of endpoints that take the same requests."""
        return self._router.clashes

    def match(self, method: str, host: str, path: str) -> Endpoint | None:
        """The endpoint of a request; None when its path has to be refused, see `PathPolicy`."""
        segments = self.paths.segments(path)
        if segments is None:
            return None
        return self._router.match(method, host, segments) or self.default

    def with_overrides(self, overrides: Mapping[bytes, Override]) -> "Rules":
        """The same rules, with these overrides in the place of those there were."""
        other = copy(self)
        other.overrides = overrides
        return other

    def demands(self, endpoint: Endpoint, caller: Caller) -> list[Demand]:
        """The buckets that a request has to pay, and how much each. Empty when nothing limits it."""
        override = self.overrides.get(caller.digest) if self.overrides else None
        if override is None or not override.covers(endpoint.name):
            return self._demands(endpoint, caller)
        if override.tier is not None:
            caller = caller._replace(tier=override.tier)
        return override.change(self._demands(endpoint, caller), caller)

    def exempt(self, endpoint: Endpoint, caller: Caller) -> list[str]:
        """The names of the limits that would count a request, but for who sent it."""
        return [limit.name for limit in self.exempting if limit.counts(endpoint.name) and limit.exempt.covers(caller)]

    def _demands(self, endpoint: Endpoint, caller: Caller) -> list[Demand]:
        demands = []
        for limit, key, by_user, charge, tiers, has_exempt in self._tolls[endpoint.name]:
            if has_exempt and limit.exempt.covers(caller):
                continue
            demands.append(
                Demand(
                    key + caller.digest if by_user else key,
                    tiers.get(caller.tier, charge) if tiers and caller.tier else charge,
                )
            )
        return demands


class _CompiledLimits:
    """Makes a limit's tolls. Endpoints that cost the same share what they can: there may be thousands of them."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._name = _quoted(limit.name)
        self._shared: dict[int, _CompiledLimit] = {}

    def toll(self, endpoint: Endpoint) -> _CompiledLimit:
        shared = self._shared.get(endpoint.cost)
        if shared is None:
            shared = self._shared[endpoint.cost] = self._make(endpoint.cost)
        return shared._replace(key=self._key(_quoted(endpoint.name))) if self._limit.per_endpoint else shared

    def _make(self, cost: int) -> _CompiledLimit:
        limit = self._limit

        def charge(quota: Quota) -> Charge:
            return Charge.of(limit.name, quota, cost, enforced=limit.enforce, outage=limit.when_redis_is_down)

        return _CompiledLimit(
            limit,
            self._key("*"),
            limit.per_user,
            charge(limit.quota),
            {tier: charge(quota) for tier, quota in limit.tiers.items()},
            bool(limit.exempt.users or limit.exempt.networks),
        )

    def _key(self, endpoint: str) -> bytes:
        return f"{self._name}:{endpoint}:{'' if self._limit.per_user else '*'}".encode()


def _quoted(name: str) -> str:
    """A name without colon or star, so no two buckets share a key; nor a brace, which Redis Cluster gives a meaning."""
    return quote(name, safe="")


@dataclass(slots=True)
class RuleBook:
    """The one cell of the gateway that changes: the rules in force. A request reads it once."""

    current: Rules
