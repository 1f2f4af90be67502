"""`Verdict`: what becomes of a request, and how that came about."""

from enum import StrEnum
from typing import NamedTuple

from gateway.limits.bucket import Decision


class Outcome(StrEnum):
    """What becomes of a request."""

    ALLOWED = "allowed"
    """Forward it."""
    REFUSED = "refused"
    """It is over a limit: the generic 429."""
    UNAVAILABLE = "unavailable"
    """Redis is away, and a limit says `when_redis_is_down: refuse`: the generic 503."""


class Verdict(NamedTuple):
    """The answer to a check.

    Attributes:
        outcome: What becomes of the request.
        degraded: Whether it was decided without the shared store.
        decision: The state of the buckets behind it, for metrics. While degraded, a limit that does not count owes 0.
    """

    outcome: Outcome
    degraded: bool
    decision: Decision

    @property
    def allowed(self) -> bool:
        """Whether the request may pass."""
        return self.outcome is Outcome.ALLOWED
