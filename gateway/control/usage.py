"""What a user has left, and how it is refilled: ``/api/v1/admin/usage`` and ``/api/v1/admin/reset``."""

import asyncio
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.control.audit.writer import AuditWriter
from gateway.control.guard import Guard
from gateway.control.http.problem import Problem
from gateway.control.http.query import only, word
from gateway.control.overrides.api import actor_of, user_of
from gateway.control.overrides.sync import OverrideSync
from gateway.control.timestamps import format_timestamp
from gateway.limiter.limiter import Limiter
from gateway.limits.bucket import Demand
from gateway.limits.identity import Caller, Identity
from gateway.limits.remaining import Remaining, remaining_in, with_weight
from gateway.limits.rules import RuleBook, Rules
from gateway.redis.errors import StoreUnavailableError

_AT_ONCE = 200
"""Buckets looked at in one question."""


class UsageApi:
    """Shows and refills the buckets that a user has to themselves.

    Args:
        guard: Lets callers with scope ``limits:read`` or ``limits:write`` pass.
        overrides: Tells all workers what was refilled.
        book: The rules in force.
        identity: Makes a caller of a user id.
        limiter: Knows what is left.
        audit: Is told what was refilled.
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

    def add_to(self, app: web.Application) -> None:
        """Serve the paths."""
        app.router.add_get("/api/v1/admin/usage/{user}", self._show)
        app.router.add_post("/api/v1/admin/reset/{user}", self._reset)

    async def _show(self, request: web.Request) -> web.Response:
        await self._guard.admit(request, Scope.READ_LIMITS)
        only(request, "tier")
        user = user_of(request)
        own = _own(self._book.current, self._identity.user(user, word(request, "tier", 64)))
        left = await self._look([demand for demand, _ in own])
        found = [_told(endpoint, balance) for (_, endpoint), balance in zip(own, left, strict=True)]
        return web.json_response({"user": user, "buckets": found, "degraded": self._limiter.is_degraded})

    async def _look(self, own: list[Demand]) -> list[Remaining]:
        demands = with_weight(own, 0)
        parts = [demands[start : start + _AT_ONCE] for start in range(0, len(demands), _AT_ONCE)]
        verdicts = await asyncio.gather(*map(self._limiter.check, parts))
        return [
            balance
            for part, verdict in zip(parts, verdicts, strict=True)
            for balance in remaining_in(part, verdict.decision)
        ]

    async def _reset(self, request: web.Request) -> web.Response:
        grant = await self._guard.admit(request, Scope.WRITE_LIMITS)
        user = user_of(request)
        caller = self._identity.user(user)
        # Every bucket there may be, also those that an override keeps the user from at present.
        keys = [demand.key for demand, _ in _own(self._book.current.with_overrides({}), caller)]
        actor, target = actor_of(grant, request), f"user {caller.digest.decode()}"
        if self._limiter.is_degraded:
            await self._audit.attempt(actor, f"reset {target}", "the store is away")
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "buckets cannot be refilled at present")
        await self._audit.record(actor, "reset", target, after={"buckets": len(keys)})
        try:
            await self._limiter.reset(keys)
            await self._overrides.tell_all()
        except StoreUnavailableError:
            await self._audit.attempt(actor, f"reset {target}", "the store gave no answer")
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "some buckets may not be refilled") from None
        return web.json_response({"user": user, "buckets": len(keys)})


def _own(rules: Rules, caller: Caller) -> list[tuple[Demand, str | None]]:
    """The user's own buckets, and the endpoint that each is for; None for one that endpoints share."""
    per_endpoint = {limit.name for limit in rules.limits if limit.per_endpoint}
    found: dict[bytes, tuple[Demand, str | None]] = {}
    for endpoint in rules.endpoints.values():
        for demand in rules.demands(endpoint, caller):
            if demand.key.endswith(caller.digest):
                found[demand.key] = demand, endpoint.name if demand.charge.limit in per_endpoint else None
    return list(found.values())


def _told(endpoint: str | None, balance: Remaining) -> dict[str, Any]:
    charge = balance.charge
    return {
        "limit": charge.limit,
        "endpoint": endpoint,
        "rate": str(charge.quota.rate),
        "burst": charge.quota.burst,
        "enforced": charge.enforced,
        "remaining": balance.remaining,
        "reset_at": format_timestamp(balance.full_at),
    }
