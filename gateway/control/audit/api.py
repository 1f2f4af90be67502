"""`AuditApi`: lets operators read the audit log, ``GET /api/v1/admin/audit``."""

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.control.audit.writer import AuditWriter
from gateway.control.http.request import allow_only, authorize, query_integer


class AuditApi:
    """Pages through the audit log of this gateway.

    Args:
        guard: Admits callers with scope ``audit:read``.
        audit: The log.
    """

    def __init__(self, guard: Guard, audit: AuditWriter) -> None:
        self._guard = guard
        self._audit = audit

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/admin/audit", self._page)]

    async def _page(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_AUDIT)
        allow_only(request, "after", "limit")
        after, most = query_integer(request, "after", 0, 0, 2**53), query_integer(request, "limit", 100, 1, 1000)
        entries = await self._audit.page(after, most)
        last = entries[-1]["sequence"] if len(entries) == most else None
        return web.json_response({"entries": entries, "next": last})
