"""`ReloadApi`: ``/api/v1/admin/rules``, ``reload`` and ``gateways``: the rules in force, and reloading them."""

import time
from typing import Any

from aiohttp import web

from gateway.auth.grant import Actor, Scope
from gateway.auth.guard import Guard
from gateway.control.errors import ControlError, ReloadRejectedError
from gateway.control.http.problem import problem_of
from gateway.control.http.request import allow_only, authorize, query_flag
from gateway.control.reload.fleet import Fleet, Reload
from gateway.control.reload.recent import recent_of
from gateway.control.reload.reloader import Reloader
from gateway.limits.rules import RuleBook
from gateway.limits.rules_diff import inventory, touched_limits
from gateway.settings.analytics import Analytics


class ReloadApi:
    """Shows the rules in force, and reloads them.

    Args:
        guard: Admits callers with scope ``limits:read`` or ``reload``.
        book: The rules in force.
        reloader: Reloads this gateway.
        fleet: Has the other gateways on the same Redis reload.
        analytics: Where the decisions of the last minutes are, for a dry run.
    """

    def __init__(self, guard: Guard, book: RuleBook, reloader: Reloader, fleet: Fleet, analytics: Analytics) -> None:
        self._guard = guard
        self._book = book
        self._reloader = reloader
        self._fleet = fleet
        self._analytics = analytics

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/admin/rules", self._show),
            web.post("/api/v1/admin/reload", self._reload),
            web.get("/api/v1/admin/gateways", self._gateways),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        rules = self._book.current
        return web.json_response({"revision": rules.revision, "since": self._reloader.since, **inventory(rules)})

    async def _reload(self, request: web.Request) -> web.Response:
        actor = await authorize(request, self._guard, Scope.RELOAD)
        allow_only(request, "dry_run", "fleet")
        dry_run, fleet = query_flag(request, "dry_run"), query_flag(request, "fleet")
        try:
            result = await self._reloader.reload(actor, dry_run=dry_run)
        except ReloadRejectedError as error:
            if dry_run:
                await self._add_analytics(error.members)
            raise
        if dry_run:
            await self._add_analytics(result)
        if fleet:
            result["gateways"] = await self._fleet.reload_others(actor, dry_run=dry_run)
        return web.json_response(result)

    async def _add_analytics(self, result: dict[str, Any]) -> None:
        """Add what the last minutes' analytics say of the limits that a dry run touches, if it is known which."""
        if "changed" in result:
            touched = touched_limits(result["changed"], self._book.current)
            result["analytics"] = await recent_of(self._analytics, touched, time.time())

    async def _gateways(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        return web.json_response({"gateway": self._fleet.name, "gateways": self._fleet.present})


def reload_for_fleet(reloader: Reloader) -> Reload:
    """Reloads for another gateway: the result is what this one would have responded with, and its status."""

    async def reload(actor: Actor, dry_run: bool) -> dict[str, Any]:
        try:
            return {"status": 200, **await reloader.reload(actor, dry_run=dry_run)}
        except ControlError as error:
            problem = problem_of(error)
            assert problem is not None  # noqa: S101 - every error of the control plane is one
            return {"status": int(problem.status), "detail": problem.detail, **problem.more}

    return reload
