"""`TopK`: the items that occur most often in a stream too long to store.

Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT
2005). The number of counters is fixed. An item without one takes over the lowest counter, and what that had counted is
stored as the item's possible error. After n additions to c counters, for every item:

* it occurred at least ``count - error`` times, and at most ``count`` times;
* no error is above n / c;
* if it occurred more than n / c times, it has a counter.

Items with the same count are kept together, so an addition takes constant time however many counters there are.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)


class Frequent(NamedTuple, Generic[T]):
    """An item, and how often it occurred at least."""

    item: T
    times: int


class TopK(Generic[T]):
    """Counts the items that occur most often.

    Args:
        capacity: How many counters.

    Raises:
        ValueError: the capacity is below 1.
    """

    __slots__ = ("_by_count", "_capacity", "_counts", "_errors", "_lowest")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("there must be at least 1 counter")
        self._capacity = capacity
        self._counts: dict[T, int] = {}
        self._errors: dict[T, int] = {}
        self._by_count: dict[int, dict[T, None]] = {}
        self._lowest = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, item: T) -> None:
        """Count an occurrence of an item."""
        before = self._counts.get(item)
        if before is not None:
            self._remove(item, before)
        elif len(self._counts) < self._capacity:
            before, self._lowest = 0, 1
        else:
            before = self._errors[item] = self._take_over()
        self._counts[item] = before + 1
        self._by_count.setdefault(before + 1, {})[item] = None

    def bounds(self, item: T) -> tuple[int, int]:
        """How often an item occurred, at least and at most.

        Raises:
            KeyError: it has no counter.
        """
        count = self._counts[item]
        return count - self._errors.get(item, 0), count

    def top(self, most: int) -> list[Frequent[T]]:
        """The items with the highest lower bounds, highest first."""
        items = [Frequent(item, count - self._errors.get(item, 0)) for item, count in self._counts.items()]
        return sorted(items, key=lambda each: -each.times)[:most]

    def _remove(self, item: T, count: int) -> None:
        items = self._by_count[count]
        del items[item]
        self._drop_if_empty(count, items)

    def _take_over(self) -> int:
        """Remove an item with the lowest count. Returns that count."""
        count = self._lowest
        items = self._by_count[count]
        # The last and not the first: to find the first, a dict skips all that were removed before it.
        item, _ = items.popitem()
        del self._counts[item]
        self._errors.pop(item, None)
        self._drop_if_empty(count, items)
        return count

    def _drop_if_empty(self, count: int, items: dict[T, None]) -> None:
        """Forget a count that no item has. If it was the lowest, the next one is: the item that had it gets that."""
        if not items:
            del self._by_count[count]
            if count == self._lowest:
                self._lowest = count + 1
