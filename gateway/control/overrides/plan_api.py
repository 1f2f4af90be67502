"""`PlanApi`: all overrides as one CSV file, ``/api/v1/admin/overrides.csv``."""

from hashlib import sha256
from http import HTTPStatus

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.auth.timestamps import now
from gateway.control.errors import InvalidPlanError, OverridesUnavailableError
from gateway.control.http.problem import Problem
from gateway.control.http.request import allow_only, authorize, query_flag, read_body
from gateway.control.overrides.listing import list_overrides
from gateway.control.overrides.plan import PlanReader, format_plan
from gateway.control.overrides.store import Version
from gateway.control.overrides.sync import OverrideSync
from gateway.limits.identity import Identity
from gateway.limits.rules import RuleBook

_PATH = "/api/v1/admin/overrides.csv"
_CSV = "text/csv"

_LARGEST = 32 * 1024 * 1024
"""Bytes of a file. It has all overrides, so it may be much larger than other bodies; a row has about 100 bytes."""


class PlanApi:
    """Shows all overrides as a file, and replaces all by those in a file.

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

    def routes(self) -> list[web.RouteDef]:
        return [web.get(_PATH, self._dump), web.put(_PATH, self._apply)]

    async def _dump(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        allow_only(request)
        version, texts = await self._overrides.current()
        listing = await list_overrides(texts)
        try:
            body = await format_plan(listing.records())
        except ValueError:
            raise OverridesUnavailableError(
                "some overrides were stored by a newer version, and this one cannot read them"
            ) from None
        return web.Response(body=body, content_type=_CSV, charset="utf-8", headers={"ETag": _tag(version)})

    async def _apply(self, request: web.Request) -> web.Response:
        actor = await authorize(request, self._guard, Scope.WRITE_LIMITS)
        allow_only(request, "dry_run")
        dry_run = query_flag(request, "dry_run")
        body = await read_body(request, _CSV, _LARGEST)
        version, stored = await self._overrides.current()
        reader = PlanReader(stored, self._book.current, self._identity, actor.subject, now())
        plan = await reader.read(_text(body))
        _require(request, version)
        if plan.changes_anything and not dry_run:
            summary = {**plan.counts, "sha256": sha256(body).hexdigest()}
            await self._overrides.replace(plan.texts, version, actor, summary)
            version = self._overrides.version
        document = {"version": str(version), "dry_run": dry_run, **plan.document()}
        return web.json_response(document, headers={"ETag": _tag(version)})


def _tag(version: Version) -> str:
    return f'"{version}"'


def _require(request: web.Request, version: Version) -> None:
    """Refuse to replace another version than the one that is meant (RFC 9110 section 13.1.1).

    Raises:
        Problem: 412.
    """
    meant = request.headers.get("If-Match")
    if meant is not None and _tag(version) not in [each.strip() for each in meant.split(",")]:
        raise Problem(
            HTTPStatus.PRECONDITION_FAILED,
            f"the overrides are of version {version} by now; nothing was changed; make another dry run",
        )


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        before = body[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        detail = f"byte 0x{body[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise InvalidPlanError([{"line": line, "column": column, "detail": detail}], 1) from None
