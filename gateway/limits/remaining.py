"""`Remaining`: the tokens left in a bucket after a decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.limits.bucket import Decision
from gateway.limits.charge import Charge, Demand


@dataclass(init=False, slots=True)
class Remaining:
    """A bucket after a decision.

    Attributes:
        charge: What the request would cost it.
        remaining: Whole tokens that requests of the same priority can still take.
        full_at: The instant, in microseconds since 1970, at which it is full again.
    """

    charge: Final[Charge]
    remaining: Final[int]
    full_at: Final[int]

    def __init__(self, charge: Charge, remaining: int, full_at: int) -> None:
        self.charge = charge
        self.remaining = remaining
        self.full_at = full_at


def remaining_in(demands: Sequence[Demand], decision: Decision) -> list[Remaining]:
    """What is left in each bucket, in the order of the demands."""
    buckets = []
    for position, demand in enumerate(demands):
        charge = demand.charge
        owed = decision.owed[position]
        if decision.allowed and position not in decision.refused:
            owed += charge.due
        buckets.append(Remaining(charge, charge.left(owed), charge.quota.full_at(owed, decision.now)))
    return buckets


def tightest(buckets: Sequence[Remaining]) -> Remaining | None:
    """The enforced bucket that refuses first: that with the fewest tokens, then the one that fills last."""
    found = None
    for bucket in buckets:
        if bucket.charge.enforced and (
            found is None
            or bucket.remaining < found.remaining
            or (bucket.remaining == found.remaining and bucket.full_at > found.full_at)
        ):
            found = bucket
    return found


def with_weight(demands: Sequence[Demand], cost: int) -> list[Demand]:
    """The same demands with another cost, in tokens; 0 reads the buckets without charging them. A closed one stays."""
    return [
        each if each.charge.cost == cost or each.charge.is_closed else Demand(each.key, each.charge.with_cost(cost))
        for each in demands
    ]
