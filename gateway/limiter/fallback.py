"""`Fallback`: one worker's share of the limits, enforced from memory while Redis is unavailable.

Each of N workers has a bucket that refills at rate / N and holds burst / N. That is the shared bucket with each token
weighing N times as much; so it is kept in that form, by the same law, and starts from the last known state. A request
that costs more than the whole share passes when the bucket is full, and is then paid off at the share's rate.

What is spent here is recorded, and charged to the shared bucket when Redis is back. What does not fit into that bucket,
because other workers spent the same tokens, stays recorded and is held against this worker's share until it fits. So a
worker is never ahead by more than its share, however often Redis becomes unavailable: see docs/bound.md.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.limiter.last_known import LastKnown
from gateway.limits.bucket import LARGEST, Charge, Decision, Demand, Quota, State, owe, take
from gateway.redis.scripts import Debt


@dataclass(slots=True)
class _LocalBucket:
    """What this worker did with a bucket and Redis does not know.

    Attributes:
        quota: The bucket's size and speed, as last charged.
        known_full_at: The instant before which Redis knew the bucket not to be full, or 0.
        spent: Microseconds of debt, weighed as in the shared bucket, not yet charged to it.
        state: The worker's own bucket.
        is_current: Whether `state` is valid; it is not after Redis was available again.
    """

    quota: Quota
    known_full_at: int = 0
    spent: int = 0
    state: State | None = None
    is_current: bool = False


class Fallback:
    """Decides from memory.

    Args:
        last_known: What Redis last said.
        max_buckets: Buckets kept; the least recently used is dropped first, and with it what was spent from it.

    Attributes:
        workers: N, at least 1.
        evicted: Buckets dropped from which something was spent.
    """

    __slots__ = ("_buckets", "_frozen_at", "_last_known", "_max", "evicted", "workers")

    def __init__(self, last_known: LastKnown, max_buckets: int) -> None:
        self._last_known = last_known
        self._max = max_buckets
        self._buckets: OrderedDict[bytes, _LocalBucket] = OrderedDict()
        self._frozen_at = LARGEST
        self.workers = 1
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, demands: Sequence[Demand]) -> Decision:
        """Charge all enforced demands to this worker's share, or none."""
        now = min(self._last_known.clock(), self._frozen_at)
        buckets = [self._open(demand, now) for demand in demands]
        weighed = [Demand(key, self._weigh(charge)) for key, charge in demands]
        decision, states = take(weighed, [bucket.state for bucket in buckets], now)
        for (_, charge), bucket, state in zip(demands, buckets, states, strict=True):
            if state is not None:
                bucket.state = state
                bucket.spent += charge.due
        return decision

    def _open(self, demand: Demand, now: int) -> _LocalBucket:
        key, quota = demand.key, demand.charge.quota
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _LocalBucket(quota)
            if len(self._buckets) > self._max:
                _, oldest = self._buckets.popitem(last=False)
                self.evicted += oldest.spent > 0
        else:
            self._buckets.move_to_end(key)
        if bucket.quota.interval != quota.interval:
            bucket.spent = -(-bucket.spent * quota.interval // bucket.quota.interval)
        bucket.quota = quota
        if not bucket.is_current:
            known = self._last_known.buckets.state(key)
            debt = owe(known, quota, now) + bucket.spent * self.workers
            bucket.known_full_at = 0 if known is None else known.full_at
            bucket.state = State(now + debt, quota.interval) if debt else None
            bucket.is_current = True
        return bucket

    def _weigh(self, charge: Charge) -> Charge:
        quota, due = charge.quota, charge.due * self.workers
        if charge.cost <= quota.burst and due > quota.capacity:
            quota = Quota(quota.rate, charge.cost * self.workers)
        return charge._replace(quota=quota, due=due)

    def freeze(self) -> None:
        """Stop refilling: Redis is back, and its buckets refill for all workers."""
        self._frozen_at = self._last_known.clock()

    def thaw(self) -> None:
        """Refill again: Redis is still unavailable after all."""
        self._frozen_at = LARGEST

    def debts(self, batch_size: int, *, restore: bool = False) -> Iterator[list[Debt]]:
        """What has yet to be charged to Redis, in lists of at most `batch_size`.

        Args:
            batch_size: Debts in a list.
            restore: Include buckets from which nothing was spent: Redis may have lost what they owe.
        """
        debts = []
        for key in list(self._buckets):
            bucket = self._buckets.get(key)
            if bucket is not None and (bucket.spent or (restore and bucket.known_full_at)):
                known_full_at = bucket.known_full_at if bucket.is_current else 0
                debts.append(Debt(key, bucket.quota, bucket.spent, known_full_at))
                if len(debts) == batch_size:
                    yield debts
                    debts = []
        if debts:
            yield debts

    def reconcile(self, debt: Debt, owed: int) -> None:
        """Record that a debt was charged to a bucket that owed `owed` microseconds: as much as fitted is paid."""
        bucket = self._buckets.get(debt.key)
        if bucket is not None:
            bucket.spent -= min(debt.due, max(0, debt.quota.capacity - owed))

    def hand_back(self) -> None:
        """Let Redis decide again. Only what could not be charged to it stays recorded."""
        self.thaw()
        self._buckets = OrderedDict((key, bucket) for key, bucket in self._buckets.items() if bucket.spent)
        for bucket in self._buckets.values():
            bucket.is_current = False

    def forget(self, keys: Iterable[bytes]) -> None:
        """Take buckets to be full, and nothing as spent from them."""
        for key in keys:
            self._buckets.pop(key, None)
