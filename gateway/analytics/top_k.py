"""`TopK`: who turns up most often in a stream too long to remember.

Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT
2005). A fixed number of counters. An item without one takes over the counter that stands lowest, and what that counter
had counted is noted as the item's possible error. After n additions to c counters, for every item:

* it turned up at least ``count - error`` times, and at most ``count`` times;
* no error is above n / c;
* if it turned up more than n / c times, it has a counter.

Items that stand at the same count share a bucket, so an addition takes the same time however many counters there are.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)


class Sure(NamedTuple, Generic[T]):
    """An item, and how often it turned up at least."""

    item: T
    times: int


class TopK(Generic[T]):
    """Counters of the items that turn up most often.

    Args:
        capacity: How many counters.

    Raises:
        ValueError: the capacity is below 1.
    """

    __slots__ = ("_buckets", "_capacity", "_counts", "_errors", "_least")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a sketch has at least 1 counter")
        self._capacity = capacity
        self._counts: dict[T, int] = {}
        self._errors: dict[T, int] = {}
        self._buckets: dict[int, dict[T, None]] = {}
        self._least = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, item: T) -> None:
        """Count that an item turned up once more."""
        before = self._counts.get(item)
        if before is not None:
            self._leave(item, before)
        elif len(self._counts) < self._capacity:
            before, self._least = 0, 1
        else:
            before = self._errors[item] = self._take_over()
        self._counts[item] = before + 1
        self._buckets.setdefault(before + 1, {})[item] = None

    def bounds(self, item: T) -> tuple[int, int]:
        """How often an item with a counter turned up, at least and at most.

        Raises:
            KeyError: it has none.
        """
        count = self._counts[item]
        return count - self._errors.get(item, 0), count

    def top(self, most: int) -> list[Sure[T]]:
        """Those that turned up most often for sure, the first of them first. Ties are in the order of counters."""
        sure = [Sure(item, count - self._errors.get(item, 0)) for item, count in self._counts.items()]
        return sorted(sure, key=lambda each: -each.times)[:most]

    def _leave(self, item: T, count: int) -> None:
        bucket = self._buckets[count]
        del bucket[item]
        self._close(count, bucket)

    def _take_over(self) -> int:
        """Take the counter of one of those that stand lowest. Returns what it stood at."""
        count = self._least
        bucket = self._buckets[count]
        # The last and not the first: to find the first, a dict walks over all that were taken out before it.
        item, _ = bucket.popitem()
        del self._counts[item]
        self._errors.pop(item, None)
        self._close(count, bucket)
        return count

    def _close(self, count: int, bucket: dict[T, None]) -> None:
        """Drop a bucket that is empty. Whoever left it goes to the next one, so that is the lowest now if it was."""
        if not bucket:
            del self._buckets[count]
            if count == self._least:
                self._least = count + 1
