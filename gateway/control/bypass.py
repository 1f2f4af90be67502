"""`Bypass`: requests that pass the proxy without being limited, because of a token in a header of our own."""

from gateway.auth.grant import Actor, Scope
from gateway.auth.guard import AccessDeniedError, Attempt, Guard
from gateway.control.audit.writer import AuditWriter
from gateway.control.errors import AuditUnavailableError


class Bypass:
    """Decides whether a request bypasses the limits. Each use is in the audit log before the request passes.

    Args:
        guard: Admits tokens with scope ``bypass``.
        audit: Records each use.
    """

    def __init__(self, guard: Guard, audit: AuditWriter) -> None:
        self._guard = guard
        self._audit = audit

    async def __call__(self, token: str, endpoint: str, source: str) -> bool:
        """Whether a request with this token, to this endpoint and from this address, is not limited."""
        attempt = Attempt("bypass", f"endpoint {endpoint}", source, Scope.BYPASS)
        try:
            grant = await self._guard.admit(token, attempt)
            await self._audit.record(Actor.of(grant, source), "bypass.used", attempt.route)
        except (AccessDeniedError, AuditUnavailableError):
            return False  # it is limited like any other
        return True
