"""`Grant`: what an admin token permits; `Actor`: who uses it, from where."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Scope(Enum):
    """What an admin token can permit."""

    CHECK = "check"
    """Ask for a decision, and be charged for it."""
    CHECK_CALLER = "check:caller"
    """Say in such a question who the caller is: tier, attributes, address."""
    READ_LIMITS = "limits:read"
    """See rules, overrides and what a user has left."""
    WRITE_LIMITS = "limits:write"
    """Set and remove overrides, refill buckets."""
    RELOAD = "reload"
    """Reload the rules."""
    READ_AUDIT = "audit:read"
    """Read the audit log."""
    BYPASS = "bypass"
    """Pass the proxy without being limited."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified admin token says.

    Attributes:
        subject: Who bears it (``sub``).
        id: The token's own name (``jti``).
        scopes: The words of ``scope``, unknown ones included.
        expires_at: Seconds since 1970 (``exp``).
    """

    subject: str
    id: str
    scopes: frozenset[str]
    expires_at: float

    def covers(self, scope: Scope) -> bool:
        """Whether the token permits `scope`: the whole word, never a part of one."""
        return scope.value in self.scopes


class Actor(NamedTuple):
    """Who does something, and from where.

    Attributes:
        subject: A token's ``sub``, or a word in parentheses for anyone else.
        jti: Which token.
        source: The address it came from.
    """

    subject: str
    jti: str = ""
    source: str = ""

    @classmethod
    def of(cls, grant: Grant | None, source: str) -> "Actor":
        """The bearer of a token; unknown without a good one."""
        return cls(grant.subject, grant.id, source) if grant else cls("(unknown)", "", source)
