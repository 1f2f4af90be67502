"""Buckets in the memory of one process: the memory store, and what carries on while Redis is away."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.limits.bucket import Decision, Demand, State, take


class LocalStore:
    """Buckets in memory, at most so many; the least recently used goes first.

    A bucket that is full again is no different from one that was never there, so nothing is lost when it is evicted. One
    that is not full is forgiven what it owes: the price of bounded memory. A bucket costs about 330 bytes.

    Args:
        max_buckets: How many to keep.
        clock: Microseconds since 1970, never going back.

    Attributes:
        evicted: How many buckets have been evicted.
    """

    __slots__ = ("_buckets", "_clock", "_max_buckets", "evicted")

    def __init__(self, max_buckets: int, clock: Callable[[], int]) -> None:
        self._buckets: OrderedDict[bytes, State] = OrderedDict()
        self._max_buckets = max_buckets
        self._clock = clock
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._buckets)

    async def take(self, demands: Sequence[Demand]) -> Decision:
        """Charge all enforced demands or none; never fails."""
        return self.take_now(demands)

    def take_now(self, demands: Sequence[Demand]) -> Decision:
        """As `take`, for those who cannot wait."""
        buckets = self._buckets
        decision, states = take(demands, [buckets.get(demand.key) for demand in demands], self._clock())
        for (key, _), state in zip(demands, states, strict=True):
            if state is not None:
                buckets[key] = state
                buckets.move_to_end(key)
            elif key in buckets:
                buckets.move_to_end(key)
        while len(buckets) > self._max_buckets:
            buckets.popitem(last=False)
            self.evicted += 1
        return decision

    async def close(self) -> None:
        """Nothing to let go of."""
