"""`Fallback`: the limits, or one worker's share of them, enforced from memory while Redis is unavailable.

For a limit with ``whole``, a worker has a bucket like the shared one. For ``local``, each of N workers has one that
refills at rate / N and holds burst / N. That is the shared bucket with each token weighing N times as much; so it is
kept in that form, by the same law. Both start from the last known state. A request that costs more than a bucket of
``local`` holds, or lets requests of its priority take, passes when it is full, and is then paid off at the rate of the
share.

What is spent here is recorded, and charged to the shared bucket when Redis is back. The worker's refill pays for it
once the shared bucket is full, because the refill of that one is lost then: for ``local`` when Redis has been
unavailable for as long as any bucket takes to fill, so that no token is ever counted twice; for ``whole`` as soon as
the bucket is full by what this worker knows. A calendar quota comes back when its period ends, and what was spent in
the period is forgotten then.

What does not fit into the shared bucket, because other workers spent the same tokens, stays recorded and is held
against the worker's own bucket until it fits. So a worker is never ahead by more than its bucket, however often Redis
becomes unavailable: see docs/bound.md.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.limiter.last_known import LastKnown
from gateway.limits.bucket import Decision, State, owe, owing, take
from gateway.limits.charge import Charge, Demand, FailurePolicy
from gateway.limits.debt import Debt
from gateway.limits.in_flight import InFlight
from gateway.limits.quota import LARGEST, Quota


@dataclass(slots=True)
class _LocalBucket:
    """What this worker did with a bucket and Redis does not know.

    Attributes:
        quota: The bucket's size and speed, as last charged.
        policy: That of the limit, as last charged: whole, or this worker's share.
        known_full_at: The instant before which Redis knew the bucket not to be full, or 0.
        spent: Microseconds of debt, weighed as in the shared bucket, not yet paid or charged to it.
        paid_until: The instant up to which the worker's refill has been used to pay for it; of a calendar quota, the
            start of the period in which it was spent.
        state: The worker's own bucket.
        is_current: Whether `state` is valid; it is not after Redis was available again.
    """

    quota: Quota
    policy: FailurePolicy
    known_full_at: int = 0
    spent: int = 0
    paid_until: int = 0
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

    __slots__ = ("_buckets", "_frozen_at", "_last_known", "_max", "_unavailable_since", "evicted", "workers")

    def __init__(self, last_known: LastKnown, max_buckets: int) -> None:
        self._last_known = last_known
        self._max = max_buckets
        self._buckets: OrderedDict[bytes, _LocalBucket] = OrderedDict()
        self._frozen_at = LARGEST
        self._unavailable_since = LARGEST
        self.workers = 1
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, demands: Sequence[Demand], in_flight: InFlight) -> Decision:
        """Charge all enforced demands to this worker's buckets, or none.

        Of requests at once, a worker has its share of the limit, at least one, whatever the limit's policy: nothing
        could be charged for them afterwards.

        Args:
            demands: The buckets, and what to charge.
            in_flight: The worker's requests in flight. Whoever calls counts this one, if it is allowed.
        """
        now = self._now()
        buckets = [None if demand.charge.quota.at_once else self._open(demand, now) for demand in demands]
        weighed = [Demand(demand.key, self._weigh(demand.charge)) for demand in demands]
        before = [
            in_flight.state(demand.key, self.workers) if bucket is None else bucket.state
            for demand, bucket in zip(demands, buckets, strict=True)
        ]
        decision, states = take(weighed, before, now)
        for demand, bucket, state in zip(demands, buckets, states, strict=True):
            if bucket is not None and state is not None:
                bucket.state = state
                bucket.spent += demand.charge.due
        return decision

    def _now(self) -> int:
        return min(self._last_known.clock(), self._frozen_at)

    def _open(self, demand: Demand, now: int) -> _LocalBucket:
        key, quota = demand.key, demand.charge.quota
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _LocalBucket(quota, demand.charge.failure_policy)
            if len(self._buckets) > self._max:
                _, oldest = self._buckets.popitem(last=False)
                self.evicted += oldest.spent > 0
        else:
            self._buckets.move_to_end(key)
        if bucket.quota.interval != quota.interval:
            bucket.spent = -(-bucket.spent * quota.interval // bucket.quota.interval)
        bucket.quota, bucket.policy = quota, demand.charge.failure_policy
        if quota.calendar is not None:
            self._pay(bucket, now)  # what was spent in another period is not held against this one
        if not bucket.is_current:
            known = self._last_known.buckets.state(key)
            debt = owe(known, quota, now) + bucket.spent * self._weight(bucket.policy)
            bucket.known_full_at = 0 if known is None else known.full_at
            bucket.state = owing(quota, debt, now) if debt else None
            bucket.is_current = True
        self._pay(bucket, now)
        return bucket

    def _pay(self, bucket: _LocalBucket, now: int) -> None:
        """Pay for what was spent with the refill that the shared bucket has no room for."""
        if bucket.quota.calendar is not None:
            start = bucket.quota.calendar.start(now)
            if bucket.paid_until < start:
                bucket.spent, bucket.paid_until = 0, start
            return
        unavailable, weight = self._unavailable_since, self._weight(bucket.policy)
        is_whole = bucket.policy is FailurePolicy.WHOLE
        full_at = max(unavailable, bucket.known_full_at) if is_whole else unavailable + bucket.quota.capacity
        since = max(bucket.paid_until, full_at)
        if now > since:
            paid = min(bucket.spent, (now - since) // weight)
            bucket.spent -= paid
            bucket.paid_until = since + paid * weight if bucket.spent else now

    def _weight(self, policy: FailurePolicy) -> int:
        """How much a token weighs in the worker's own bucket."""
        return 1 if policy is FailurePolicy.WHOLE else self.workers

    def _weigh(self, charge: Charge) -> Charge:
        weight = self.workers if charge.quota.at_once else self._weight(charge.failure_policy)
        quota, due, ceiling = charge.quota, charge.due * weight, charge.ceiling
        if charge.due <= ceiling < due:
            ceiling = due
            if ceiling > quota.capacity:
                quota = Quota(quota.rate, charge.cost * weight)
        return replace(charge, quota=quota, due=due, ceiling=ceiling)

    def begin(self) -> None:
        """Redis is unavailable from now on, and not only to single checks."""
        self._unavailable_since = min(self._unavailable_since, self._last_known.clock())

    def freeze(self) -> None:
        """Stop refilling: Redis is back, and its buckets refill for all workers."""
        self._frozen_at = self._last_known.clock()

    def thaw(self) -> None:
        """Refill again: Redis is still unavailable after all."""
        self._frozen_at = LARGEST

    def debts(self, batch_size: int, *, first: bool = False) -> Iterator[list[Debt]]:
        """What has yet to be charged to Redis, in lists of at most `batch_size`.

        Args:
            batch_size: Debts in a list.
            first: Only what exceeds the size of the worker's own bucket, so that the shared bucket has room for that of
                every worker; and what is known of buckets from which nothing was spent: Redis may have lost it.
        """
        debts, now = [], self._now()
        for key in list(self._buckets):
            bucket = self._buckets.get(key)
            if bucket is None:
                continue
            self._pay(bucket, now)
            due = max(0, bucket.spent - bucket.quota.capacity // self._weight(bucket.policy)) if first else bucket.spent
            if due or (first and bucket.known_full_at):
                known_full_at = bucket.known_full_at if bucket.is_current else 0
                debts.append(Debt(key, bucket.quota, due, known_full_at, bucket.paid_until))
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
        self._unavailable_since = LARGEST
        self._buckets = OrderedDict((key, bucket) for key, bucket in self._buckets.items() if bucket.spent)
        for bucket in self._buckets.values():
            bucket.is_current = False

    def forget(self, keys: Iterable[bytes]) -> None:
        """Take buckets to be full, and nothing as spent from them."""
        for key in keys:
            self._buckets.pop(key, None)
