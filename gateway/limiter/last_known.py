"""`LastKnown`: what Redis last said of each bucket.

It serves two purposes. While Redis is available it is the denial cache: other workers can only add to what a bucket
owes, so a bucket that cannot pay by its last known state cannot pay by the state that Redis would find now. It is what
a bucket owes that is remembered, not that it refused, so a refusal of low priority refuses none of high priority. (Only
for a bucket that is refunded, because requests may cost less than was charged for them, Redis is always asked.) When
Redis becomes unavailable, the fallback starts from here: a bucket known to be empty stays empty. So a calendar quota
that is used up is refused from here until its period ends.

It is wrong about a bucket that was filled without its knowledge (by an override, a reset, a reload, or a Redis that
lost its data). Whoever does or notices that calls `forget`.
"""

from collections.abc import Callable, Sequence

from gateway.limiter.buckets import BucketTable
from gateway.limits.bucket import Decision, judge, owe, owing
from gateway.limits.charge import Demand


class LastKnown:
    """The last known state of each bucket.

    Args:
        max_buckets: Buckets kept, see `BucketTable`.
        clock: Redis' time. As it is never behind, no refusal outlasts its reason.

    Attributes:
        clock: As given.
        buckets: Their states.
        epoch: Counts calls of `forget`.
    """

    __slots__ = ("buckets", "clock", "epoch")

    def __init__(self, max_buckets: int, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.buckets = BucketTable(max_buckets, clock)
        self.epoch = 0

    def refuse(self, demands: Sequence[Demand]) -> Decision | None:
        """The refusal that Redis would certainly give; None if Redis has to decide."""
        buckets = self.buckets
        now = self.clock()
        for demand in demands:
            key, charge = demand.key, demand.charge
            # Cheap, and nearly always enough to rule a refusal out; `judge` has the last word. Of a calendar quota this
            # says only that something was used of it.
            if charge.enforced and buckets.full_at(key) - now + charge.due > charge.ceiling and charge.due:
                if charge.refunds:
                    continue
                quota = charge.quota
                if quota.calendar is not None and owe(buckets.state(key), quota, now) + charge.due <= charge.ceiling:
                    continue
                decision = judge(
                    demands, [owe(buckets.state(each.key), each.charge.quota, now) for each in demands], now
                )
                if not decision.allowed:
                    return decision
        return None

    def record(self, demands: Sequence[Demand], decision: Decision, epoch: int) -> None:
        """Remember a decision of Redis, unless something was forgotten after `epoch`, when Redis was asked for it."""
        if epoch != self.epoch:
            return
        buckets = self.buckets
        now, owed, refused = decision.now, decision.owed, decision.refused
        for position, demand in enumerate(demands):
            charge = demand.charge
            debt = owed[position]
            if decision.allowed and position not in refused:
                debt += charge.due
            if debt and not charge.quota.at_once:
                quota = charge.quota
                if quota.calendar is None:
                    buckets.put(demand.key, now + debt, quota.interval)
                else:
                    state = owing(quota, debt, now)
                    buckets.put(demand.key, state.full_at, state.interval, state.rest)

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Take buckets to be full until Redis says otherwise: these, or all if None."""
        self.epoch += 1
        self.buckets.forget(keys)
