"""`Bypass`: who passes the proxy without being limited."""

from gateway.auth.grant import Scope
from gateway.control.audit.writer import Actor, AuditWriter
from gateway.control.guard import Attempt, Guard
from gateway.control.http.problem import Problem


class Bypass:
    """Asked by the proxy about a token in a header of our own. Each use is in the audit log before the request passes.

    Args:
        guard: Knows good tokens.
        audit: Is told of each use.
    """

    def __init__(self, guard: Guard, audit: AuditWriter) -> None:
        self._guard = guard
        self._audit = audit

    async def __call__(self, token: str, endpoint: str, source: str) -> bool:
        """Whether a request is not to be limited. One that may not bypass is limited like any other."""
        attempt = Attempt("bypass", f"endpoint {endpoint}", source)
        try:
            grant = await self._guard.weigh(lambda: self._guard.read(token), Scope.BYPASS, attempt)
            await self._audit.record(Actor.of(grant, source), "bypass.used", attempt.route)
        except Problem:
            return False
        return True
