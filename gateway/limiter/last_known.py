"""`LastKnown`: what the store last said of each bucket.

It serves twice. While the store answers, it is the denial memory: others can only add to what a bucket owes, so a
bucket that cannot pay by what was last said of it cannot pay by what the store would say now. When the store is gone,
it is where the local fallback starts from: a bucket known to be empty stays empty.

What would make it wrong is a bucket that was filled behind its back (an override, a reset, a reload, a store that lost
its data). Whoever does or notices that calls `forget`.
"""

from collections.abc import Sequence

from gateway.limiter.memory import MemoryStore
from gateway.limits.bucket import Decision, Demand, judge, owe
from gateway.redis.clock import StoreClock


class LastKnown:
    """What the store last said of each bucket, the least recently used forgotten first.

    Args:
        max_buckets: How many are remembered.
        clock: The store's time. As it is never behind, no refusal outlasts its reason.

    Attributes:
        clock: As given.
        buckets: What is remembered.
        epoch: Counts the times something was forgotten; an answer to a question asked before that is not heard.
    """

    __slots__ = ("buckets", "clock", "epoch")

    def __init__(self, max_buckets: int, clock: StoreClock) -> None:
        self.clock = clock
        self.buckets = MemoryStore(max_buckets, clock)
        self.epoch = 0

    def refuse(self, demands: Sequence[Demand]) -> Decision | None:
        """A refusal that the store is certain to give; None if it has to be asked."""
        full_at = self.buckets.full_at
        now = self.clock()
        for key, charge in demands:
            # A look that is nearly always enough; the law has the last word.
            if charge.enforced and full_at(key) - now + charge.due > charge.quota.capacity:
                state = self.buckets.state
                decision = judge(demands, [owe(state(key), charge.quota, now) for key, charge in demands], now)
                if not decision.allowed:
                    return decision
        return None

    def hear(self, demands: Sequence[Demand], decision: Decision) -> None:
        """Remember what the store said."""
        put = self.buckets.put
        allowed, now, owed, refused = decision
        for place, (key, charge) in enumerate(demands):
            owes = owed[place]
            if allowed and place not in refused:
                owes += charge.due
            if owes:
                put(key, now + owes, charge.quota.interval)

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Take buckets for full until the store says otherwise; all of them if none are named."""
        self.epoch += 1
        self.buckets.forget(keys)
