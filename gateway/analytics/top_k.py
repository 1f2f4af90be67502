"""`TopK`: the items that occur most often in a stream too long to store.

Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT
2005). The number of counters is fixed. An item without one takes over the lowest counter, and what that had counted is
stored as the item's possible error. After additions of weight n in
all to c counters, for every item:

* its weight is at least ``count - error``, and at most ``count``;
* no error is above n / c;
* if its weight is above n / c, it has a counter.

Items with the same count are kept together, so an addition of weight 1 takes constant time
however many counters there are. A heavier one may look through as many counts as it weighs, or as there are.
"""

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)


class Frequent(NamedTuple, Generic[T]):
    """An item, and how often it occurred at least; or its weight."""

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

    def add(self, item: T, weight: int = 1) -> None:
        """Count an occurrence of an item, of a weight of 1 or more."""
        before = self._counts.get(item)
        if before is not None:
            self._remove(item, before, weight)
        elif len(self._counts) < self._capacity:
            self._lowest = min(self._lowest, weight) if self._counts else weight
            before = 0
        else:
            before = self._errors[item] = self._take_over(weight)
        self._counts[item] = before + weight
        self._by_count.setdefault(before + weight, {})[item] = None

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

    def _remove(self, item: T, count: int, weight: int) -> None:
        items = self._by_count[count]
        del items[item]
        self._drop_if_empty(count, items, weight)

    def _take_over(self, weight: int) -> int:
        """Remove an item with the lowest count. Returns that count."""
        count = self._lowest
        items = self._by_count[count]
        # The last and not the first: to find the first, a dict skips all that were removed before it.
        item, _ = items.popitem()
        del self._counts[item]
        self._errors.pop(item, None)
        self._drop_if_empty(count, items, weight)
        return count

    def _drop_if_empty(self, count: int, items: dict[T, None], weight: int) -> None:
        """Forget a count that no item has. If it was the lowest, the next one is: at most what the item gets now."""
        if not items:
            del self._by_count[count]
            if count == self._lowest:
                self._lowest = self._lowest_above(count, count + weight)

    def _lowest_above(self, count: int, most: int) -> int:
        if most - count > len(self._by_count):
            return min((most, *self._by_count))
        return next((each for each in range(count + 1, most) if each in self._by_count), most)
