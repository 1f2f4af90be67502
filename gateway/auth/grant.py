"""`Grant`: what a good token lets its bearer do, and who that is."""

from dataclasses import dataclass
from enum import Enum


class Scope(Enum):
    """What a token can be good for."""

    CHECK = "check"
    """Ask for a decision, and be charged for it."""
    READ_LIMITS = "limits:read"
    """See rules, overrides and what a user has left."""
    WRITE_LIMITS = "limits:write"
    """Set and remove overrides, refill buckets."""
    RELOAD = "reload"
    """Have the rules read again."""
    READ_AUDIT = "audit:read"
    """Read what was changed, and by whom."""
    BYPASS = "bypass"
    """Pass the proxy without being limited."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token says.

    Attributes:
        subject: Who bears it (``sub``).
        id: The token's own name (``jti``).
        scopes: What it is good for; words we do not know included.
        expires_at: Seconds since 1970 at which it ceases to be good, leeway not included.
    """

    subject: str
    id: str
    scopes: frozenset[str]
    expires_at: float

    def covers(self, scope: Scope) -> bool:
        """Whether the token is good for `scope`: the whole word, never a part of one."""
        return scope.value in self.scopes
