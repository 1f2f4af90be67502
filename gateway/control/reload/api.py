"""`ReloadApi`: ``/api/v1/admin/rules``, ``reload``, ``confirm`` and ``gateways``: the rules in force, and reloading."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gateway.auth.grant import Actor, Scope
from gateway.auth.guard import Guard
from gateway.auth.timestamps import format_timestamp
from gateway.control.errors import ControlError, ReloadRejectedError
from gateway.control.http.problem import Problem, problem_of
from gateway.control.http.request import allow_only, authorize, query_duration, query_flag
from gateway.control.reload.fleet import CarryOut, Fleet
from gateway.control.reload.in_force import InForce
from gateway.control.reload.recent import recent_of
from gateway.control.reload.reloader import Reloader
from gateway.control.reload.revisions import Revisions
from gateway.control.reload.switch import Switch
from gateway.limits.rules import RuleBook
from gateway.limits.rules_diff import inventory, touched_limits
from gateway.settings.analytics import Analytics

_CONFIRM_WITHIN = 1.0, 86_400.0
"""The shortest and the longest time to confirm a reload, in seconds."""


class ReloadApi:
    """Shows the rules in force, and reloads them.

    Args:
        guard: Admits callers with scope ``limits:read`` or ``reload``.
        book: The rules in force.
        switch: Says since when.
        revisions: Say which revision is in force.
        reloader: Reloads this gateway.
        fleet: Has the other gateways on the same Redis reload.
        analytics: Where the decisions of the last minutes are, for a dry run.
    """

    def __init__(
        self,
        guard: Guard,
        book: RuleBook,
        switch: Switch,
        revisions: Revisions,
        reloader: Reloader,
        fleet: Fleet,
        analytics: Analytics,
    ) -> None:
        self._guard = guard
        self._book = book
        self._switch = switch
        self._revisions = revisions
        self._reloader = reloader
        self._fleet = fleet
        self._analytics = analytics

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/admin/rules", self._show),
            web.post("/api/v1/admin/reload", self._reload),
            web.post("/api/v1/admin/confirm", self._confirm),
            web.get("/api/v1/admin/gateways", self._gateways),
        ]

    async def _show(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        rules = self._book.current
        terms = _terms(await asyncio.to_thread(self._revisions.latest))
        shown = {"revision": rules.revision, "since": self._switch.since, **terms, **inventory(rules)}
        shown["changes_at"] = format_timestamp(rules.changes_at) if rules.changes_at else None
        return web.json_response(shown)

    async def _reload(self, request: web.Request) -> web.Response:
        actor = await authorize(request, self._guard, Scope.RELOAD)
        allow_only(request, "dry_run", "fleet", "confirm_within", "force")
        dry_run, fleet, force = (query_flag(request, name) for name in ("dry_run", "fleet", "force"))
        confirm_within = query_duration(request, "confirm_within", *_CONFIRM_WITHIN)
        if dry_run and confirm_within is not None:
            raise Problem(HTTPStatus.BAD_REQUEST, "a dry run puts nothing in force, so it has no confirm_within")
        options: dict[str, Any] = {"dry_run": dry_run, "confirm_within": confirm_within, "force": force}
        try:
            result = await self._reloader.reload(actor, **options)
        except ReloadRejectedError as error:
            if dry_run:
                await self._add_analytics(error.members)
            raise
        if dry_run:
            await self._add_analytics(result)
        if fleet:
            result["gateways"] = await self._fleet.ask_others(actor, {"do": "reload", **options})
        return web.json_response(result)

    async def _confirm(self, request: web.Request) -> web.Response:
        actor = await authorize(request, self._guard, Scope.RELOAD)
        allow_only(request, "fleet")
        fleet = query_flag(request, "fleet")
        result = await self._reloader.confirm(actor)
        if fleet:
            result["gateways"] = await self._fleet.ask_others(actor, {"do": "confirm"})
        return web.json_response(result)

    async def _add_analytics(self, result: dict[str, Any]) -> None:
        """Add what the last minutes' analytics say of the limits that a dry run touches, if it is known which."""
        if "changed" in result:
            touched = touched_limits(result["changed"], self._book.current)
            result["analytics"] = await recent_of(self._analytics, touched, time.time())

    async def _gateways(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        return web.json_response({"gateway": self._fleet.name, "gateways": self._fleet.present})


def _terms(in_force: InForce) -> dict[str, Any]:
    """On what terms which revision is in force."""
    pin, pending = in_force.pin, in_force.pending
    return {
        "number": in_force.number or None,
        "pinned": None if pin is None else {"since": pin.since, "actor": pin.actor, "reason": pin.reason},
        "unconfirmed": None
        if pending is None
        else {"confirm_by": format_timestamp(pending.deadline), "returns_to": pending.previous, "actor": pending.actor},
    }


def carry_out_for_fleet(reloader: Reloader) -> CarryOut:
    """Does what another gateway asks for: the result is what this one would have responded with, and its status."""

    async def carry_out(actor: Actor, request: dict[str, Any]) -> dict[str, Any]:
        options = {name: value for name, value in request.items() if name != "do"}
        requests: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "reload": reloader.reload,
            "rollback": reloader.rollback,
            "confirm": reloader.confirm,
        }
        try:
            return {"status": 200, **await requests[request.get("do", "reload")](actor, **options)}
        except ControlError as error:
            problem = problem_of(error)
            assert problem is not None  # noqa: S101 - every error of the control plane is one
            return {"status": int(problem.status), "detail": problem.detail, **problem.more}

    return carry_out
