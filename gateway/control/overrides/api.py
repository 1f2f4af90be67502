"""`OverridesApi`: where operators change what is laid down for single users, ``/api/v1/admin/overrides``."""

from bisect import bisect_right
from http import HTTPStatus

from aiohttp import web

from gateway.auth.grant import Grant, Scope
from gateway.control.audit.writer import Actor
from gateway.control.guard import Guard, address_of
from gateway.control.http.json_body import read_json_body
from gateway.control.http.problem import Problem
from gateway.control.http.query import only, whole, word
from gateway.control.overrides.model import OverrideRecord, read_override
from gateway.control.overrides.sync import OverrideSync
from gateway.control.timestamps import now, timestamp
from gateway.limits.identity import Identity
from gateway.limits.rules import RuleBook

LONGEST_USER = 256


def user_of(request: web.Request) -> str:
    """The user that a request's path names.

    Raises:
        Problem: 400; no user has such a name.
    """
    user = request.match_info["user"]
    if not 0 < len(user) <= LONGEST_USER or not _is_text(user):
        raise Problem(HTTPStatus.BAD_REQUEST, f"a user is a text of 1 to {LONGEST_USER} characters")
    return user


def _is_text(user: str) -> bool:
    try:
        user.encode()
    except UnicodeEncodeError:
        return False
    return True


def actor_of(grant: Grant, request: web.Request) -> Actor:
    """Who does something, for the audit log."""
    return Actor.of(grant, str(address_of(request)))


class OverridesApi:
    """Shows, sets and removes overrides.

    Args:
        guard: Lets callers with scope ``limits:read`` or ``limits:write`` pass.
        overrides: What is laid down.
        book: The rules in force.
        identity: Makes digests of user ids.
    """

    def __init__(self, guard: Guard, overrides: OverrideSync, book: RuleBook, identity: Identity) -> None:
        self._guard = guard
        self._overrides = overrides
        self._book = book
        self._identity = identity

    def add_to(self, app: web.Application) -> None:
        """Serve the paths."""
        app.router.add_get("/api/v1/admin/overrides", self._list)
        app.router.add_get("/api/v1/admin/overrides/{user}", self._show)
        app.router.add_put("/api/v1/admin/overrides/{user}", self._set)
        app.router.add_delete("/api/v1/admin/overrides/{user}", self._remove)

    async def _list(self, request: web.Request) -> web.Response:
        await self._guard.admit(request, Scope.READ_LIMITS)
        only(request, "after", "limit")
        after, most = word(request, "after", LONGEST_USER) or "", whole(request, "limit", 100, 1, 1000)
        found = sorted(self._overrides.records.values(), key=lambda record: record.user)
        start = bisect_right(found, after, key=lambda record: record.user)
        page = found[start : start + most]
        return web.json_response(
            {
                "overrides": [record.document() for record in page],
                "next": page[-1].user if start + most < len(found) else None,
            }
        )

    async def _show(self, request: web.Request) -> web.Response:
        await self._guard.admit(request, Scope.READ_LIMITS)
        record = self._overrides.records.get(self._digest(user_of(request)))
        if record is None:
            raise Problem(HTTPStatus.NOT_FOUND, "this user has no override")
        return web.json_response(record.document())

    async def _set(self, request: web.Request) -> web.Response:
        grant = await self._guard.admit(request, Scope.WRITE_LIMITS)
        user = user_of(request)
        override = read_override(await read_json_body(request), self._book.current, now())
        record = OverrideRecord(user, override, grant.subject, timestamp())
        is_new = await self._overrides.put(self._digest(user), record, actor_of(grant, request))
        return web.json_response(record.document(), status=201 if is_new else 200)

    async def _remove(self, request: web.Request) -> web.Response:
        grant = await self._guard.admit(request, Scope.WRITE_LIMITS)
        await self._overrides.remove(self._digest(user_of(request)), actor_of(grant, request))
        return web.Response(status=204)

    def _digest(self, user: str) -> str:
        return self._identity.user(user).digest.decode()
