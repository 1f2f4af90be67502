"""`MemoryStore`: buckets in this process, the least recently used of them forgotten when there are too many."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.limits.bucket import Decision, Demand, State, take

_INTERVAL_BITS = 45
_INTERVAL_MASK = (1 << _INTERVAL_BITS) - 1

BYTES_PER_BUCKET = 512
"""What a bucket costs at most, its key of up to 64 bytes included; CPython 3.11, x86-64.

Measured: a million users in a million buckets take 236 MB, two and a half million users in as many 320 MB. It is most
when few buckets change hands often, as their table is then rebuilt over and over.
"""


class MemoryStore:
    """Buckets in memory.

    A state is kept as one integer, the instant above the interval (below 2**45: the longest period is 366 days). The
    garbage collector has nothing to visit then, however many buckets there are.

    Args:
        max_buckets: How many are kept; the least recently used goes first, and is full when it is seen again.
        clock: Microseconds since 1970.

    Attributes:
        evicted: Buckets forgotten before they were full.
    """

    __slots__ = ("_buckets", "_clock", "_max", "evicted")

    def __init__(self, max_buckets: int, clock: Callable[[], int]) -> None:
        self._buckets: OrderedDict[bytes, int] = OrderedDict()
        self._max = max_buckets
        self._clock = clock
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._buckets)

    @property
    def held(self) -> int:
        """Buckets in memory."""
        return len(self._buckets)

    async def take(self, demands: Sequence[Demand]) -> Decision:
        """Charge all enforced demands or none, see `gateway.limits.bucket.take`."""
        decision, states = take(demands, [self.state(key) for key, _ in demands], self._clock())
        for (key, _), state in zip(demands, states, strict=True):
            if state is not None:
                self.put(key, *state)
        return decision

    def state(self, key: bytes) -> State | None:
        """A bucket's state; None if it is full as far as is known. Counts as a use."""
        packed = self._buckets.get(key)
        if packed is None:
            return None
        self._buckets.move_to_end(key)
        return State(packed >> _INTERVAL_BITS, packed & _INTERVAL_MASK)

    def full_at(self, key: bytes) -> int:
        """The instant at which a bucket is full again; 0 if it is. Does not count as a use."""
        return self._buckets.get(key, 0) >> _INTERVAL_BITS

    def put(self, key: bytes, full_at: int, interval: int) -> None:
        """Keep a bucket's state, see `State`."""
        buckets = self._buckets
        buckets[key] = full_at << _INTERVAL_BITS | interval
        buckets.move_to_end(key)
        if len(buckets) > self._max:
            _, packed = buckets.popitem(last=False)
            self.evicted += packed >> _INTERVAL_BITS > self._clock()

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Take buckets for full; all of them if none are named."""
        if keys is None:
            self._buckets.clear()
        else:
            for key in keys:
                self._buckets.pop(key, None)

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets."""
        self.forget(keys)

    async def close(self) -> None:
        """Nothing to let go of."""
