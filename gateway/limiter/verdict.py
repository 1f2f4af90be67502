"""`Verdict`: what becomes of a request, and how that came about."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.limits.bucket import Decision
from gateway.limits.charge import Charge, Demand


class Outcome(StrEnum):
    """What becomes of a request. The limiter decides on one of the first three; how a request ends may be any."""

    ALLOWED = "allowed"
    """It may pass; of a request that has ended: it was forwarded, and the upstream's response came back."""
    REFUSED = "refused"
    """It is over a limit: the generic 429."""
    UNAVAILABLE = "unavailable"
    """Redis is unavailable, and a limit says `when_redis_is_down: refuse`: the generic 503."""
    BAD_REQUEST = "bad_request"
    """It could not be read in one way, or not to the end. No limit was asked, or it had been allowed."""
    UPSTREAM_ERROR = "upstream_error"
    """It was forwarded, and no whole response came back."""
    CLIENT_GONE = "client_gone"
    """The client left before it had its response."""


@dataclass(init=False, slots=True)
class OverLimits:
    """The limits that a request is over. Their names are looked up only when they are needed.

    Attributes:
        demands: What the request asked of the buckets.
        refused: Positions of the demands that could not be paid, also of buckets that do not refuse.
    """

    demands: Final[Sequence[Demand]]
    refused: Final[Sequence[int]]

    def __init__(self, demands: Sequence[Demand], refused: Sequence[int]) -> None:
        self.demands = demands
        self.refused = refused

    @property
    def refusing(self) -> list[str]:
        """Names of the limits that refused the request."""
        return [charge.limit for charge in self._charges if charge.enforced]

    @property
    def told(self) -> list[str]:
        """Names of the limits of which the upstream is told, if the request is forwarded."""
        return [charge.limit for charge in self._charges if charge.tells]

    @property
    def _charges(self) -> list[Charge]:
        return [self.demands[position].charge for position in self.refused]


@dataclass(init=False, slots=True)
class Verdict:
    """The result of a check.

    Attributes:
        outcome: What becomes of the request.
        degraded: Whether it was decided from memory because Redis is unavailable.
        decision: What each bucket owed. When degraded, a bucket whose limit is ignored owes 0.
    """

    outcome: Final[Outcome]
    degraded: Final[bool]
    decision: Final[Decision]

    def __init__(self, outcome: Outcome, degraded: bool, decision: Decision) -> None:
        self.outcome = outcome
        self.degraded = degraded
        self.decision = decision

    @property
    def allowed(self) -> bool:
        """Whether the request may pass."""
        return self.outcome is Outcome.ALLOWED


UNLIMITED: Final = Verdict(Outcome.ALLOWED, False, Decision(True, 0, (), ()))
"""For a request that no limit counts."""
