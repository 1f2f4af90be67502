"""`OverridesApi`: shows, sets and removes overrides, ``/api/v1/admin/overrides``."""

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.auth.timestamps import now, timestamp
from gateway.control.errors import NoOverrideError
from gateway.control.http.request import (
    allow_only,
    authorize,
    query_integer,
    query_string,
    read_json_body,
)
from gateway.control.http.target import routes, stored_target_in_path, target_in_path
from gateway.control.overrides.listing import Listing, list_overrides
from gateway.control.overrides.model import OverrideRecord, read_override
from gateway.control.overrides.sync import OverrideSync
from gateway.limits.identity import Identity
from gateway.limits.rules import RuleBook


class OverridesApi:
    """Overrides of single users, and of addresses.

    Args:
        guard: Admits callers with scope ``limits:read`` or ``limits:write``.
        overrides: The overrides in force.
        book: The rules in force.
        identity: Makes digests of user ids and addresses.
    """

    def __init__(self, guard: Guard, overrides: OverrideSync, book: RuleBook, identity: Identity) -> None:
        self._guard = guard
        self._overrides = overrides
        self._book = book
        self._identity = identity
        self._listing = Listing({}, [])

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/admin/overrides", self._list),
            *routes(web.get, "/api/v1/admin/overrides", self._show),
            *routes(web.put, "/api/v1/admin/overrides", self._set),
            *routes(web.delete, "/api/v1/admin/overrides", self._remove),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        allow_only(request, "after", "limit")
        after, most = query_string(request, "after") or "", query_integer(request, "limit", 100, 1, 1000)
        listing = self._listing  # kept for the next page, unless something changes
        if listing.source is not self._overrides.known.texts:
            listing = self._listing = await list_overrides(self._overrides.known.texts)
        records, following = listing.page(after, most)
        return web.json_response({"overrides": [record.document() for record in records], "next": following})

    async def _show(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        target = stored_target_in_path(request)
        record = self._overrides.find(target.digest(self._identity))
        if record is None:
            raise NoOverrideError(f"this {target.kind} has no override")
        return web.json_response(record.document())

    async def _set(self, request: web.Request) -> web.Response:
        actor = await authorize(request, self._guard, Scope.WRITE_LIMITS)
        target = target_in_path(request, self._identity)
        override = read_override(await read_json_body(request), target, self._book.current, now())
        record = OverrideRecord(target, override, actor.subject, timestamp())
        is_new = await self._overrides.put(target.digest(self._identity), record, actor)
        return web.json_response(record.document(), status=201 if is_new else 200)

    async def _remove(self, request: web.Request) -> web.Response:
        actor = await authorize(request, self._guard, Scope.WRITE_LIMITS)
        target = stored_target_in_path(request)
        await self._overrides.remove(target.digest(self._identity), target, actor)
        return web.Response(status=204)
