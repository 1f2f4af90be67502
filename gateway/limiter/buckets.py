"""`BucketTable`: buckets in this process; when there are too many, the least recently used is dropped."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from gateway.limits.bucket import Decision, State, take
from gateway.limits.charge import Demand
from gateway.limits.debt import Debt, reconcile
from gateway.limits.in_flight import InFlight

_INTERVAL_BITS: Final = 45
_INTERVAL_MASK: Final = (1 << _INTERVAL_BITS) - 1
_INSTANT_BITS: Final = 53
_INSTANT_MASK: Final = (1 << _INSTANT_BITS) - 1
_REST_AT: Final = _INSTANT_BITS + _INTERVAL_BITS

BYTES_PER_BUCKET: Final = 512
"""The most memory a bucket takes, its key of up to 64 bytes included; CPython 3.11, x86-64.

Measured: 236 MB for a million users in a million buckets, 320 MB for two and a half million users in as many. The most
is needed when few buckets change hands often, because the table is then rebuilt over and over.
"""


class BucketTable:
    """Buckets by key.

    A state is one integer: the rest, `full_at` and the interval (below 2**45: the longest period is 366 days), from the
    highest bits to the lowest. So the garbage collector has nothing to visit, however many buckets there are.

    Args:
        max_buckets: How many are kept. One that was dropped counts as full when it is needed again.
        clock: Microseconds since 1970.

    Attributes:
        evicted: Buckets dropped before they were full.
    """

    __slots__ = ("_buckets", "_clock", "_max", "evicted")

    def __init__(self, max_buckets: int, clock: Callable[[], int]) -> None:
        self._buckets: OrderedDict[bytes, int] = OrderedDict()
        self._max = max_buckets
        self._clock = clock
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def state(self, key: bytes) -> State | None:
        """A bucket's state; None if it is full as far as is known. Counts as a use."""
        packed = self._buckets.get(key)
        if packed is None:
            return None
        self._buckets.move_to_end(key)
        return State(packed >> _INTERVAL_BITS & _INSTANT_MASK, packed & _INTERVAL_MASK, packed >> _REST_AT)

    def full_at(self, key: bytes) -> int:
        """The instant at which a bucket is full again; 0 if it is full, and too late if it is that of a calendar quota.

        Does not count as a use.
        """
        return self._buckets.get(key, 0) >> _INTERVAL_BITS  # with the rest above it: so it costs no more

    def put(self, key: bytes, full_at: int, interval: int, rest: int = 0) -> None:
        """Keep a bucket's state, see `State`."""
        buckets = self._buckets
        if rest:
            full_at |= rest << _INSTANT_BITS
        buckets[key] = full_at << _INTERVAL_BITS | interval
        buckets.move_to_end(key)
        if len(buckets) > self._max:
            _, packed = buckets.popitem(last=False)
            self.evicted += (packed >> _INTERVAL_BITS & _INSTANT_MASK) + (packed >> _REST_AT) > self._clock()

    def take(self, demands: Sequence[Demand], now: int, in_flight: InFlight | None = None) -> Decision:
        """Charge all buckets of a request, or none, see `gateway.limits.bucket.take`.

        Args:
            demands: The buckets, and what to charge.
            now: Microseconds since 1970.
            in_flight: The requests in flight, whose buckets are not in this table; None if there are none.
        """
        before = [
            in_flight.state(demand.key)
            if in_flight is not None and demand.charge.quota.at_once
            else self.state(demand.key)
            for demand in demands
        ]
        decision, states = take(demands, before, now)
        if decision.allowed:
            for position, demand in enumerate(demands):
                state = states[position]
                if state is not None and not demand.charge.quota.at_once:
                    self.put(demand.key, state.full_at, state.interval, state.rest)
            if in_flight is not None:
                in_flight.hold(demands, decision)
        return decision

    def settle(self, debts: Iterable[Debt], now: int) -> None:
        """Charge debts to buckets, or refund them, see `gateway.limits.debt.reconcile`."""
        for debt in debts:
            _, state = reconcile(self.state(debt.key), debt, now)
            if state is not None:
                self.put(debt.key, state.full_at, state.interval, state.rest)

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Take buckets to be full: these, or all if None."""
        if keys is None:
            self._buckets.clear()
        else:
            for key in keys:
                self._buckets.pop(key, None)
