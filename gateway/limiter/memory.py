"""`MemoryLimiter`: buckets in this process only, for a gateway of one worker without Redis."""

from collections.abc import Callable, Sequence

from gateway.limiter.buckets import BucketTable
from gateway.limiter.verdict import UNLIMITED, Outcome, Verdict
from gateway.limits.charge import Demand
from gateway.limits.debt import settle
from gateway.limits.in_flight import InFlight


class MemoryLimiter:
    """Decides from memory.

    Args:
        max_buckets: Buckets kept, see `BucketTable`.
        clock: Microseconds since 1970.

    Attributes:
        is_degraded: Never: there is no Redis to be unavailable.
        clock: As given.
        workers: One, for nobody shares these buckets.
        in_flight: Requests in flight that limits count.
    """

    __slots__ = ("_buckets", "clock", "in_flight")

    is_degraded = False
    workers = 1

    def __init__(self, max_buckets: int, clock: Callable[[], int]) -> None:
        self._buckets = BucketTable(max_buckets, clock)
        self.in_flight = InFlight()
        self.clock = clock

    async def check(self, demands: Sequence[Demand]) -> Verdict:
        """Charge all buckets of a request, or none, see `gateway.limits.bucket.take`."""
        if not demands:
            return UNLIMITED
        decision = self._buckets.take(demands, self.clock(), self.in_flight)
        return Verdict(Outcome.ALLOWED if decision.allowed else Outcome.REFUSED, False, decision)

    def settle(self, demands: Sequence[Demand], verdict: Verdict, difference: int) -> None:
        """Charge or refund what an ended request cost more or less than was charged for it."""
        self.in_flight.release(demands, verdict.decision)
        self._buckets.settle(settle(demands, verdict.decision, difference), self.clock())

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets."""
        self._buckets.forget(keys)

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Nothing: these buckets are the only ones there are."""

    @property
    def held(self) -> int:
        """Buckets in memory."""
        return len(self._buckets)

    @property
    def evicted(self) -> int:
        """Buckets dropped for want of room before they were full."""
        return self._buckets.evicted

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""
