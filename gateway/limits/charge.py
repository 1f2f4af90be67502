"""`Charge`: what one request costs one bucket."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from gateway.limits.quota import Quota


class FailurePolicy(Enum):
    """What becomes of a limit while Redis is unavailable: the setting `when_redis_is_down`."""

    WHOLE = "whole"
    """Each worker enforces the whole limit from memory."""
    LOCAL = "local"
    """Each worker enforces its share of the limit from memory."""
    ALLOW = "allow"
    """The limit is ignored."""
    REFUSE = "refuse"
    """Requests that fall under the limit get a plain 503."""


@dataclass(init=False, slots=True)
class Charge:
    """What one request costs one bucket.

    Attributes:
        limit: Name of the limit the bucket belongs to.
        quota: The bucket's size and speed.
        cost: Tokens; 0 reads the bucket without charging it.
        enforced: Whether this bucket may refuse. Another one is charged when it can pay, and never refuses.
        due: Microseconds of debt that the cost adds.
        ceiling: The largest debt with which the bucket can pay: its capacity, less what is kept for requests that
            matter more.
        failure_policy: What becomes of the limit while Redis is unavailable.
        reserve: The part of the bucket that is kept for them, from 0 to 1.
        tells: Whether the upstream is told when this bucket cannot pay. Only of one that does not refuse.
        refunds: Whether what the bucket owes can shrink other than by time, because requests may cost less than was
            charged for them.
    """

    limit: Final[str]
    quota: Final[Quota]
    cost: Final[int]
    enforced: Final[bool]
    due: Final[int]
    ceiling: Final[int]
    failure_policy: Final[FailurePolicy]
    reserve: Final[float]
    tells: Final[bool]
    refunds: Final[bool]

    def __init__(
        self,
        limit: str, quota: Quota, cost: int, enforced: bool, due: int, ceiling: int,
        failure_policy: FailurePolicy = FailurePolicy.WHOLE, reserve: float = 0.0, tells: bool = False,
        refunds: bool = False,
    ) -> None:  # fmt: skip
        self.limit = limit
        self.quota = quota
        self.cost = cost
        self.enforced = enforced
        self.due = due
        self.ceiling = ceiling
        self.failure_policy = failure_policy
        self.reserve = reserve
        self.tells = tells
        self.refunds = refunds

    @classmethod
    def of(
        cls,
        limit: str,
        quota: Quota,
        cost: int = 1,
        *,
        enforced: bool = True,
        failure_policy: FailurePolicy = FailurePolicy.WHOLE,
        reserve: float = 0.0,
        tells: bool = False,
        refunds: bool = False,
    ) -> "Charge":
        """A charge of `cost` tokens on a bucket of `limit`. A cost above the ceiling can never be paid.

        Raises:
            ValueError: the cost is negative.
        """
        if cost < 0:
            raise ValueError("a cost is at least 0")
        due = min(cost, quota.burst + 1) * quota.interval
        ceiling = ceiling_of(quota, reserve)
        return cls(limit, quota, cost, enforced, due, ceiling, failure_policy, reserve, tells, refunds)

    def with_quota(self, quota: Quota) -> "Charge":
        """The same charge on a bucket of another size and speed."""
        return self._changed(quota, self.cost)

    def with_cost(self, cost: int) -> "Charge":
        """The same charge with another cost, in tokens."""
        return self._changed(self.quota, cost)

    def closed(self) -> "Charge":
        """The same charge on a bucket from which nobody may take anything, so that it refuses whatever a request costs.

        The law of a reserve: of all there is.
        """
        return replace(self, cost=max(self.cost, 1), due=max(self.due, self.quota.interval), ceiling=0, reserve=1.0)

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be taken, see `closed`."""
        return self.ceiling == 0

    def _changed(self, quota: Quota, cost: int) -> "Charge":
        return self.of(
            self.limit,
            quota,
            cost,
            enforced=self.enforced,
            failure_policy=self.failure_policy,
            reserve=self.reserve,
            tells=self.tells,
            refunds=self.refunds,
        )

    @property
    def over(self) -> str:
        """What it means, in metrics and reports, that this bucket cannot pay."""
        if self.enforced:
            return "refused"
        return "told" if self.tells else "shadow_refused"

    @property
    def most(self) -> int:
        """Whole tokens that a request can take from the full bucket."""
        return self.ceiling // self.quota.interval

    def left(self, owed: int) -> int:
        """Whole tokens that such requests can still take from a bucket that owes so much."""
        return max(0, self.ceiling - owed) // self.quota.interval

    def payable_at(self, owed: int, now: int) -> int | None:
        """From when a bucket that owes so much can pay, if nothing else is charged.

        None if it never can, or, of a limit of requests at once, not before one of them ends.
        """
        missing = owed + self.due - self.ceiling
        if self.due > self.ceiling or (missing > 0 and self.due and self.quota.at_once):
            return None
        return now if missing <= 0 or not self.due else self.quota.full_at(missing, now)


def ceiling_of(quota: Quota, reserve: float) -> int:
    """The largest debt, in microseconds, that leaves a part of a bucket's capacity, `reserve`, untouched."""
    return quota.capacity - round(quota.capacity * reserve)


@dataclass(init=False, slots=True)
class Demand:
    """A bucket's key, and what to charge to it."""

    key: Final[bytes]
    charge: Final[Charge]

    def __init__(self, key: bytes, charge: Charge) -> None:
        self.key = key
        self.charge = charge
