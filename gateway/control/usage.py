"""`UsageApi`: what a user has left, and refilling it: ``/api/v1/admin/usage`` and ``/api/v1/admin/reset``."""

import asyncio
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.auth.timestamps import format_timestamp
from gateway.control.audit.writer import AuditWriter
from gateway.control.http.problem import Problem
from gateway.control.http.request import allow_only, authorize, query_string, user_in_path, user_to_change
from gateway.control.overrides.sync import OverrideSync
from gateway.limiter.limiter import Limiter
from gateway.limits.bucket import Demand
from gateway.limits.identity import Caller, Identity
from gateway.limits.remaining import Remaining, remaining_in, with_weight
from gateway.limits.rules import RuleBook, Rules
from gateway.redis.errors import StoreUnavailableError

_BATCH = 200
"""Buckets in one check."""


class UsageApi:
    """Shows and refills the buckets that a user has to themselves.

    Args:
        guard: Admits callers with scope ``limits:read`` or ``limits:write``.
        overrides: Has all workers forget what they know of the buckets that were refilled.
        book: The rules in force.
        identity: Makes a caller of a user id.
        limiter: Knows what is left.
        audit: Records each reset.
    """

    def __init__(
        self,
        guard: Guard,
        overrides: OverrideSync,
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        audit: AuditWriter,
    ) -> None:
        self._guard = guard
        self._overrides = overrides
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._audit = audit

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/admin/usage/{user}", self._show),
            web.post("/api/v1/admin/reset/{user}", self._reset),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        allow_only(request, "tier")
        user = user_in_path(request)
        own = _own_buckets(self._book.current, self._identity.user(user, query_string(request, "tier", 64)))
        remaining = await self._remaining([demand for demand, _ in own])
        buckets = [_bucket(endpoint, each) for (_, endpoint), each in zip(own, remaining, strict=True)]
        return web.json_response({"user": user, "buckets": buckets, "degraded": self._limiter.is_degraded})

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
        user = user_to_change(request)
        caller = self._identity.user(user)
        # Every bucket the user may have, including those that an override replaces at present.
        keys = [demand.key for demand, _ in _own_buckets(self._book.current.with_overrides({}), caller)]
        target = f"user {caller.digest.decode()}"
        if self._limiter.is_degraded:
            await self._audit.record_refusal(actor, f"reset {target}", "Redis is unavailable")
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "buckets cannot be refilled while Redis is unavailable")
        await self._audit.record(actor, "reset", target, after={"buckets": len(keys)})
        try:
            await self._limiter.reset(keys)
            await self._overrides.touch()
        except StoreUnavailableError:
            await self._audit.record_refusal(actor, f"reset {target}", "Redis did not answer")
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "Redis did not answer; some buckets may not be refilled"
            ) from None
        return web.json_response({"user": user, "buckets": len(keys)})


def _own_buckets(rules: Rules, caller: Caller) -> list[tuple[Demand, str | None]]:
    """The user's own buckets, and the endpoint that each is for; None for one that endpoints share."""
    per_endpoint = {limit.name for limit in rules.limits if limit.per_endpoint}
    own: dict[bytes, tuple[Demand, str | None]] = {}
    for endpoint in rules.endpoints.values():
        for demand in rules.demands(endpoint, caller):
            if demand.key.endswith(caller.digest):
                own[demand.key] = demand, endpoint.name if demand.charge.limit in per_endpoint else None
    return list(own.values())


def _bucket(endpoint: str | None, remaining: Remaining) -> dict[str, Any]:
    charge = remaining.charge
    return {
        "limit": charge.limit,
        "endpoint": endpoint,
        "rate": str(charge.quota.rate),
        "burst": charge.quota.burst,
        "enforced": charge.enforced,
        "remaining": remaining.remaining,
        "reset_at": format_timestamp(remaining.full_at),
    }
