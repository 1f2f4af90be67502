"""`Debt`: what is charged to a bucket, or refunded, without asking whether it can pay.

There are three kinds. What was spent while Redis was unavailable is charged up to the bucket's capacity; the rest stays
recorded where it was spent. What a check took in vain is refunded. And when a request has ended whose cost was only
estimated, the difference is charged or refunded: an overrun is owed, even beyond the capacity, so that the bucket
admits nobody until it is paid for and the long-run rate is exact.

`reconcile` is the executable specification of `redis/reconcile.lua`, as `gateway.limits.bucket.take` is of `take.lua`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.limits.bucket import Decision, State, owe, owing
from gateway.limits.charge import Demand
from gateway.limits.quota import LARGEST_DEBT, Quota


class Debt(NamedTuple):
    """What is to be charged to a bucket.

    Attributes:
        key: The bucket.
        quota: Its size and speed.
        due: Microseconds of debt to add; negative to refund.
        known_full_at: The instant, in microseconds of Redis' clock, before which it was known not to be full; or 0.
        at: When it was decided; of a calendar quota, it is charged in the period of that instant or not at all.
        most: The largest debt, in microseconds, to which this may raise what the bucket owes; None for its capacity.
    """

    key: bytes
    quota: Quota
    due: int
    known_full_at: int = 0
    at: int = 0
    most: int | None = None

    @property
    def ceiling(self) -> int:
        """The largest debt to which this may raise what the bucket owes."""
        return self.quota.capacity if self.most is None else self.most


def reconcile(state: State | None, debt: Debt, now: int) -> tuple[int, State | None]:
    """Charge a debt to a bucket.

    Returns:
        What the bucket owed before, in microseconds, and its new state; None if it stays as it was.
    """
    quota, calendar, start, longest = debt.quota, debt.quota.calendar, now, LARGEST_DEBT
    if calendar is not None:
        start, end = calendar.start(debt.at), calendar.end(debt.at)
        longest = end - start
        if now >= end:
            return 0, None
        if now < start:
            return quota.capacity, None
    had = owe(state, quota, now)
    owed = max(had, min(debt.known_full_at - start, quota.capacity))
    owes = max(0, owed + debt.due) if debt.due < 0 else max(owed, min(owed + debt.due, debt.ceiling, longest))
    if owes == had:
        return owed, None
    return owed, owing(quota, owes, now) if owes else State(start, quota.interval)


def settle(demands: Sequence[Demand], decision: Decision, difference: int) -> Iterator[Debt]:
    """What is still due, or to be refunded, for an allowed request that has ended. Requests at once have no price.

    Args:
        demands: What was demanded for it.
        decision: The decision on them: buckets that could not pay were not charged, and owe nothing for it now.
        difference: Tokens by which it has cost more than was charged for it; negative if it has cost less.
    """
    for position, demand in enumerate(demands if difference else ()):
        charge = demand.charge
        if charge.due and not charge.quota.at_once and position not in decision.refused:
            due = max(-LARGEST_DEBT, min(difference * charge.quota.interval, LARGEST_DEBT))
            yield Debt(demand.key, charge.quota, due, at=decision.now, most=LARGEST_DEBT)
