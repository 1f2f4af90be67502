"""The audit log as operators read it: ``GET /api/v1/admin/audit``."""

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.control.audit.writer import AuditWriter
from gateway.control.guard import Guard
from gateway.control.http.query import only, whole


class AuditApi:
    """Pages through the audit log of this gateway.

    Args:
        guard: Lets callers with scope ``audit:read`` pass.
        audit: The log.
    """

    def __init__(self, guard: Guard, audit: AuditWriter) -> None:
        self._guard = guard
        self._audit = audit

    def add_to(self, app: web.Application) -> None:
        """Serve the path."""
        app.router.add_get("/api/v1/admin/audit", self._page)

    async def _page(self, request: web.Request) -> web.Response:
        await self._guard.admit(request, Scope.READ_AUDIT)
        only(request, "after", "limit")
        after, most = whole(request, "after", 0, 0, 2**53), whole(request, "limit", 100, 1, 1000)
        found = await self._audit.page(after, most)
        last = found[-1]["sequence"] if len(found) == most else None
        return web.json_response({"entries": found, "next": last})
