"""`ReloadApi`: the rules in force, and how they are reloaded: ``/api/v1/admin/rules`` and ``/api/v1/admin/reload``."""

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.control.guard import Guard
from gateway.control.http.query import flag, only
from gateway.control.overrides.api import actor_of
from gateway.control.reload.fleet import Fleet
from gateway.control.reload.reloader import Reloader
from gateway.limits.rules import RuleBook
from gateway.limits.rules_diff import inventory


class ReloadApi:
    """Shows the rules in force, and has them reloaded.

    Args:
        guard: Lets callers with scope ``limits:read`` or ``reload`` pass.
        book: The rules in force.
        reloader: Reloads this gateway.
        muster: Has the others on the same Redis do so.
    """

    def __init__(self, guard: Guard, book: RuleBook, reloader: Reloader, muster: Fleet) -> None:
        self._guard = guard
        self._book = book
        self._reloader = reloader
        self._muster = muster

    def add_to(self, app: web.Application) -> None:
        """Serve the paths."""
        app.router.add_get("/api/v1/admin/rules", self._show)
        app.router.add_post("/api/v1/admin/reload", self._reload)

    async def _show(self, request: web.Request) -> web.Response:
        await self._guard.admit(request, Scope.READ_LIMITS)
        rules = self._book.current
        return web.json_response({"revision": rules.revision, "since": self._reloader.since, **inventory(rules)})

    async def _reload(self, request: web.Request) -> web.Response:
        grant = await self._guard.admit(request, Scope.RELOAD)
        only(request, "dry_run", "fleet")
        dry_run, fleet = flag(request, "dry_run"), flag(request, "fleet")
        actor = actor_of(grant, request)
        answer = await self._reloader.reload(actor, dry_run=dry_run)
        if fleet:
            answer["gateways"] = await self._muster.ask(actor, dry_run=dry_run)
        return web.json_response(answer)
