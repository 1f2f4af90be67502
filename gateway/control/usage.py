"""`UsageApi`: what a user or an address has left, and refilling it, ``/api/v1/admin/usage`` and ``.../reset``."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.auth.timestamps import format_timestamp
from gateway.control.audit.writer import AuditWriter
from gateway.control.http.problem import Problem
from gateway.control.http.request import allow_only, authorize, query_string
from gateway.control.http.target import routes, target_in_path
from gateway.control.overrides.sync import OverrideSync
from gateway.control.target import Target
from gateway.control.tiers import SeenTiers
from gateway.limiter.limiter import Limiter
from gateway.limits.address import clients_in, count_clients, group, is_one_client
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.holder import USER, Holder
from gateway.limits.identity import Identity
from gateway.limits.limit import live_name
from gateway.limits.quota import quota_fields
from gateway.limits.remaining import Remaining, remaining_in, with_weight
from gateway.limits.rules import RuleBook, Rules
from gateway.redis.errors import StoreUnavailableError

_BATCH = 200
"""Buckets in one check."""

_MAX_BUCKETS = 20_000
"""Buckets of all clients in a network that are shown or refilled at once."""


class _Bucket(NamedTuple):
    """A bucket that a caller is charged to.

    Attributes:
        demand: Its key, and what a request is charged.
        endpoint: The endpoint it is for; None if endpoints share it.
        shared: Whether it is charged for other callers, too.
        client: The client's address, where several are shown.
    """

    demand: Demand
    endpoint: str | None
    shared: bool
    client: str | None


class UsageApi:
    """Shows the buckets that can refuse a user or a client, and refills those that they have to themselves.

    Args:
        guard: Admits callers with scope ``limits:read`` or ``limits:write``.
        overrides: Has all workers forget what they know of the buckets that were refilled.
        book: The rules in force.
        identity: Makes callers of user ids and addresses.
        limiter: Knows what is left.
        audit: Records each reset.
        tiers: Knows in which tier a user was seen last.
    """

    def __init__(
        self,
        guard: Guard,
        overrides: OverrideSync,
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        audit: AuditWriter,
        tiers: SeenTiers,
    ) -> None:
        self._guard = guard
        self._overrides = overrides
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._audit = audit
        self._tiers = tiers

    def routes(self) -> list[web.RouteDef]:
        return [
            *routes(web.get, "/api/v1/admin/usage", self._show),
            *routes(web.post, "/api/v1/admin/reset", self._reset),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        allow_only(request, "tier")
        target, tier = target_in_path(request, self._identity), query_string(request, "tier", 64)
        if tier is not None and target.clients is not None:
            raise Problem(HTTPStatus.BAD_REQUEST, "an address has no tier; only users have")
        if tier is None and target.kind == USER:
            tier = await self._tiers.last(self._identity.user(target.name).digest)
        found = self._buckets(self._book.current, target, tier)
        remaining = await self._remaining([each.demand for each in found])
        buckets = [_document(each, left) for each, left in zip(found, remaining, strict=True)]
        if target.clients is not None and not is_one_client(target.clients):
            buckets = [
                shown for shown, left in zip(buckets, remaining, strict=True) if left.remaining < left.charge.most
            ]
        document = {**target.document(), "buckets": buckets, "degraded": self._limiter.is_degraded}
        return web.json_response({**document, "tier": tier} if target.clients is None else document)

    def _buckets(self, rules: Rules, target: Target, tier: str | None = None) -> list[_Bucket]:
        """The buckets that can refuse a user or a client; of a network with several, the clients' own.

        Raises:
            Problem: 400; the network has too many.
        """
        clients, holders = target.clients, rules.holders
        if clients is None:
            return _buckets(rules, target, self._caller(target, tier, holders))
        if is_one_client(clients):
            return _buckets(rules, target, self._identity.client(clients.network_address, holders))
        own: dict[bytes, _Bucket] = {}
        for client in clients_in(clients):
            found = _buckets(rules, target, self._identity.client(client, holders), group(client))
            own |= {each.demand.key: each for each in found if not each.shared}
            if len(own) + count_clients(clients) > _MAX_BUCKETS:
                raise Problem(
                    HTTPStatus.BAD_REQUEST, f"{target.name} has too many clients for one request; ask for a part of it"
                )
        return list(own.values())

    def _caller(self, target: Target, tier: str | None, holders: Sequence[Holder]) -> Caller:
        """A caller of whom nothing is known but what the target says."""
        if target.kind == USER:
            return self._identity.user(target.name, tier, holders=holders)
        return self._identity.with_attributes(target.attributes, tier, holders=holders)

    async def _remaining(self, own: list[Demand]) -> list[Remaining]:
        demands = with_weight(own, 0)
        batches = [demands[start : start + _BATCH] for start in range(0, len(demands), _BATCH)]
        verdicts = await asyncio.gather(*map(self._limiter.check, batches))
        return [
            remaining
            for batch, verdict in zip(batches, verdicts, strict=True)
            for remaining in remaining_in(batch, verdict.decision)
        ]

    async def _reset(self, request: web.Request) -> web.Response:
        actor = await authorize(request, self._guard, Scope.WRITE_LIMITS)
        target = target_in_path(request, self._identity)
        # Every bucket there may be, including those that an override replaces at present.
        found = self._buckets(self._book.current.without_overrides(), target)
        keys = [each.demand.key for each in found if not each.shared and not each.demand.charge.quota.at_once]
        audited = f"{target.kind} {target.digest(self._identity)}"
        if self._limiter.is_degraded:
            await self._audit.record_refusal(actor, f"reset {audited}", "Redis is unavailable")
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "buckets cannot be refilled while Redis is unavailable")
        await self._audit.record(actor, "reset", audited, after={"buckets": len(keys)})
        try:
            await self._limiter.reset(keys)
            await self._overrides.touch()
        except StoreUnavailableError:
            await self._audit.record_refusal(actor, f"reset {audited}", "Redis did not answer")
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "Redis did not answer; some buckets may not be refilled"
            ) from None
        return web.json_response({**target.document(), "buckets": len(keys)})


def _buckets(rules: Rules, target: Target, caller: Caller, client: str | None = None) -> list[_Bucket]:
    """All buckets that requests of a caller are charged to, each as the requests of the highest priority find it."""
    limits = {limit.name: limit for limit in rules.limits}
    found: dict[bytes, _Bucket] = {}
    for endpoint in rules.endpoints.values():
        for demand in rules.demands(endpoint, caller):
            limit = limits.get(live_name(demand.charge.limit))
            at = endpoint.name if limit is not None and limit.per_endpoint else None
            shared = limit is not None and not target.changes(limit.holder)
            known = found.get(demand.key)
            if known is not None and known.demand.charge.ceiling > demand.charge.ceiling:
                continue
            found[demand.key] = _Bucket(demand, at, shared, client)
    return list(found.values())


def _document(bucket: _Bucket, remaining: Remaining) -> dict[str, Any]:
    charge = remaining.charge
    document = {
        "limit": charge.limit,
        "endpoint": bucket.endpoint,
        **quota_fields(charge.quota),
        "enforced": charge.enforced,
        "shared": bucket.shared,
        "remaining": remaining.remaining,
        "reset_at": format_timestamp(remaining.full_at),
    }
    return document if bucket.client is None else {**document, "address": bucket.client}
