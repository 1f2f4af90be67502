"""`FailoverLimiter`: decides with Redis, and without it while it is unavailable. The failure policy is in `check`."""

from asyncio import CancelledError
from collections.abc import Callable, Sequence

from gateway.limiter.breaker import Breaker
from gateway.limiter.fallback import Fallback
from gateway.limiter.last_known import LastKnown
from gateway.limiter.recovery import Recovery, RedisObserver
from gateway.limiter.verdict import UNLIMITED, Outcome, Verdict
from gateway.limits.bucket import Decision
from gateway.limits.charge import Demand, FailurePolicy
from gateway.limits.debt import settle
from gateway.limits.in_flight import InFlight
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.poller import Poller
from gateway.redis.store import RedisStore


class FailoverLimiter:
    """Buckets in Redis, shared by all workers of all gateways; in this worker's memory while Redis is unavailable.

    Args:
        store: The buckets in Redis.
        clock: Redis' time.
        poller: Sends the heartbeats.
        max_buckets: Buckets whose last known state is kept, and as many that are decided on from memory.
        workers: Workers of this gateway: the fleet is never taken to be smaller.
        observer: Receives what happens to Redis.
        has_quotas: Whether a limit has a calendar quota at present.

    Attributes:
        last_known: What Redis last said of each bucket.
        fallback: Decides while Redis is unavailable.
    """

    __slots__ = ("_breaker", "_observer", "_recovery", "_store", "fallback", "last_known")

    def __init__(
        self,
        store: RedisStore,
        clock: Callable[[], int],
        poller: Poller,
        *,
        max_buckets: int,
        workers: int,
        observer: RedisObserver,
        has_quotas: Callable[[], bool] = lambda: False,
    ) -> None:
        self.last_known = LastKnown(max_buckets, clock)
        self.fallback = Fallback(self.last_known, max_buckets)
        self._store = store
        self._breaker = Breaker()
        self._observer = observer
        self._recovery = Recovery(
            store,
            poller,
            self._breaker,
            self.last_known,
            self.fallback,
            workers=workers,
            observer=observer,
            has_quotas=has_quotas,
        )

    async def check(self, demands: Sequence[Demand]) -> Verdict:
        """Charge all buckets of a request, or none. Never fails, and takes no longer than the store's deadline.

        1. While Redis is known to be unavailable it is not asked, and a refusal that it would certainly give is given
           from memory.
        2. A check that gets no reply is never repeated, for it may have been charged.
        3. Without a decision from Redis, each limit's `when_redis_is_down` counts: one limit with `refuse` makes the
           request unavailable, limits with `allow` are ignored, and all others are enforced by the fallback, wholly or
           this worker's share of them.
        """
        if not demands:
            return UNLIMITED
        if not self._breaker.is_open:
            refusal = None if self._store.refunds else self.last_known.refuse(demands)
            if refusal is not None:
                return Verdict(Outcome.REFUSED, False, refusal)
            epoch = self.last_known.epoch
            taking = self._store.take(demands)
            try:
                decision = await taking
            except CancelledError:
                self._store.give_up(demands, taking)
                raise
            except StoreUnavailableError as error:
                self._recovery.record_failure(error)
            else:
                self._breaker.succeed()
                self.last_known.record(demands, decision, epoch)
                return Verdict(Outcome.ALLOWED if decision.allowed else Outcome.REFUSED, False, decision)
        counted = []
        for position, demand in enumerate(demands):
            charge = demand.charge
            if charge.failure_policy is FailurePolicy.REFUSE and charge.enforced:
                nothing = Decision(False, self.last_known.clock(), (0,) * len(demands), ())
                return Verdict(Outcome.UNAVAILABLE, True, nothing)
            if charge.failure_policy is not FailurePolicy.ALLOW:
                counted.append(position)
        decision = self.fallback.take([demands[position] for position in counted], self.in_flight)
        outcome = Outcome.ALLOWED if decision.allowed else Outcome.REFUSED
        spread = _spread(decision, counted, len(demands))
        self._store.slots.hold_untold(demands, spread)
        return Verdict(outcome, True, spread)

    def settle(self, demands: Sequence[Demand], verdict: Verdict, difference: int) -> None:
        """Charge or refund, in Redis, what an ended request cost more or less than was charged for it.

        What was decided without Redis, or ends while it is unavailable, stays charged as it was. Limits of requests at
        once count it no more, whoever decided on it.
        """
        self._store.release(demands, verdict.decision)
        debts = list(settle(demands, verdict.decision, difference))
        if not verdict.degraded and not self._breaker.is_open:
            self._store.settle(debts)
        elif debts:
            self._observer.settlements_lost(len(debts))
        if not self._breaker.is_open:
            self._store.send()

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets, in Redis and here.

        Raises:
            StoreUnavailableError: they are full in this worker; in Redis they may or may not be.
        """
        try:
            await self._store.reset(keys)
        finally:
            self.last_known.forget(keys)
            self.fallback.forget(keys)

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Have Redis decide on buckets again: these, or all if None.

        While Redis is unavailable, what is known of it is all there is, and stays.
        """
        if not self._breaker.is_open:
            self.last_known.forget(keys)

    @property
    def in_flight(self) -> InFlight:
        """This worker's requests in flight that limits of requests at once count."""
        return self._store.slots.in_flight

    @property
    def clock(self) -> Callable[[], int]:
        """Redis' time."""
        return self.last_known.clock

    @property
    def is_degraded(self) -> bool:
        """Whether requests are decided without Redis."""
        return self._breaker.is_open

    @property
    def workers(self) -> int:
        """Workers of all gateways that share the limits, as last seen."""
        return self.fallback.workers

    @property
    def held(self) -> int:
        """Buckets in memory."""
        return len(self.last_known.buckets) + len(self.fallback)

    @property
    def evicted(self) -> int:
        """Buckets dropped for want of room."""
        return self.last_known.buckets.evicted + self.fallback.evicted

    async def start(self) -> None:
        """Connect to Redis. If it is unavailable, decide without it until it is back."""
        await self._recovery.start()

    async def close(self) -> None:
        """Charge to Redis what is left to charge, and leave the fleet."""
        await self._recovery.close()
        await self._store.close()


def _spread(decision: Decision, counted: Sequence[int], demands: int) -> Decision:
    """A decision on some of the demands as one on all of them; a demand that was not counted owes nothing."""
    owed = [0] * demands
    for position, debt in zip(counted, decision.owed, strict=True):
        owed[position] = debt
    refused = tuple(counted[place] for place in decision.refused)
    return Decision(decision.allowed, decision.now, tuple(owed), refused)
