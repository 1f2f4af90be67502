"""`RevisionsApi`: ``/api/v1/admin/revisions`` and ``rollback``: rules that were accepted, and going back to them."""

import asyncio
import re
from typing import Any

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.control.errors import NoRevisionError
from gateway.control.http.request import allow_only, authorize, query_flag, read_json_body
from gateway.control.reload.fleet import Fleet
from gateway.control.reload.reloader import Reloader
from gateway.control.reload.revisions import Revisions

_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_MOST = 10**9 - 1
_MAX_REASON = 1000


class RevisionsApi:
    """Shows revisions, and rolls back to them.

    Args:
        guard: Admits callers with scope ``limits:read`` or ``reload``.
        revisions: Of this gateway.
        reloader: Rolls this gateway back.
        fleet: Has the other gateways on the same Redis roll back.
    """

    def __init__(self, guard: Guard, revisions: Revisions, reloader: Reloader, fleet: Fleet) -> None:
        self._guard = guard
        self._revisions = revisions
        self._reloader = reloader
        self._fleet = fleet

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/admin/revisions", self._list),
            web.get("/api/v1/admin/revisions/{number}", self._show),
            web.post("/api/v1/admin/rollback", self._rollback),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        allow_only(request)
        in_force = await asyncio.to_thread(self._revisions.latest)
        found = await asyncio.to_thread(self._revisions.all)
        return web.json_response(
            {
                "in_force": in_force.number or None,
                "revisions": [each.summary() for each, _ in found if each is not None],
                "damaged": [why for each, why in found if each is None],
            }
        )

    async def _show(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        allow_only(request)
        text = request.match_info["number"]
        if _NUMBER.fullmatch(text) is None:
            raise NoRevisionError("a revision has a number from 1; see GET /api/v1/admin/revisions")
        return web.json_response((await asyncio.to_thread(self._revisions.get, int(text))).document())

    async def _rollback(self, request: web.Request) -> web.Response:
        actor = await authorize(request, self._guard, Scope.RELOAD)
        allow_only(request, "fleet")
        fleet = query_flag(request, "fleet")
        body = await read_json_body(request)
        to, reason = body.integer("to", 1, _MOST), body.string("reason", _MAX_REASON)
        body.close()
        result: dict[str, Any] = await self._reloader.rollback(actor, to, reason)
        if fleet:
            # Each gateway has numbers of its own, so the others are told the checksum.
            rollback = {"do": "rollback", "to": result["revision"], "reason": reason}
            result["gateways"] = await self._fleet.ask_others(actor, rollback)
        return web.json_response(result)
