"""`Remaining`: what is left in a bucket, in tokens, as a decision found it."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.limits.bucket import Charge, Decision, Demand
from gateway.limits.override import BLOCKED


class Remaining(NamedTuple):
    """A bucket after a decision.

    Attributes:
        charge: What was asked of it.
        remaining: Whole tokens it holds.
        full_at: The instant, in microseconds of the store's clock, at which it is full again.
    """

    charge: Charge
    remaining: int
    full_at: int


def remaining_in(demands: Sequence[Demand], decision: Decision) -> list[Remaining]:
    """What is left in each bucket, in the order of the demands."""
    found = []
    for place, (_, charge) in enumerate(demands):
        owed = decision.owed[place]
        if decision.allowed and place not in decision.refused:
            owed += charge.due
        left = max(0, charge.quota.capacity - owed) // charge.quota.interval
        found.append(Remaining(charge, 0 if charge.limit == BLOCKED else left, decision.now + owed))
    return found


def tightest(found: Sequence[Remaining]) -> Remaining | None:
    """The bucket that can refuse soonest: the least tokens, then the longest to wait. Shadow limits never refuse."""
    enforced = [balance for balance in found if balance.charge.enforced]
    return min(enforced, key=lambda balance: (balance.remaining, -balance.full_at), default=None)


def with_weight(demands: Sequence[Demand], cost: int) -> list[Demand]:
    """The same demands for another cost, in tokens; 0 looks without touching. Who is blocked can pay none."""
    return [Demand(key, charge if charge.limit == BLOCKED else _at(charge, cost)) for key, charge in demands]


def _at(charge: Charge, cost: int) -> Charge:
    return Charge.of(charge.limit, charge.quota, cost, enforced=charge.enforced, outage=charge.outage)
