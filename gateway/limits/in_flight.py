"""`InFlight`: how many requests of one worker each limit of requests at once counts at present."""

from collections import Counter
from collections.abc import Iterator, Sequence

from gateway.limits.bucket import Decision, State
from gateway.limits.charge import Demand


def slots(demands: Sequence[Demand], decision: Decision) -> Iterator[Demand]:
    """The demands that an allowed request holds until it ends.

    As with rates, a limit that does not refuse counts only what it would have admitted.
    """
    for position, demand in enumerate(demands):
        charge = demand.charge
        if charge.quota.at_once and charge.due and position not in decision.refused:
            yield demand


def without_slots(demands: Sequence[Demand]) -> list[Demand]:
    """The demands of a request whose end nobody will see: limits of requests at once do not count it."""
    return [demand for demand in demands if not demand.charge.quota.at_once]


class InFlight:
    """The true numbers of this worker, whoever decided on its requests.

    Attributes:
        by_limit: Requests that each limit counts, by its name.
    """

    __slots__ = ("_by_key", "by_limit")

    def __init__(self) -> None:
        self._by_key: dict[bytes, int] = {}
        self.by_limit: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[bytes]:
        """The keys of buckets that count a request of this worker."""
        return iter(self._by_key)

    def count(self, key: bytes) -> int:
        """Requests that a bucket counts."""
        return self._by_key.get(key, 0)

    def state(self, key: bytes, weight: int = 1) -> State | None:
        """The same as a bucket's state, each request counted `weight` times."""
        count = self._by_key.get(key)
        return None if count is None else State(count * weight, 1)

    def hold(self, demands: Sequence[Demand], decision: Decision) -> None:
        """Count an allowed request."""
        for demand in slots(demands, decision):
            self._by_key[demand.key] = self._by_key.get(demand.key, 0) + 1
            self.by_limit[demand.charge.limit] += 1

    def release(self, demands: Sequence[Demand], decision: Decision) -> list[bytes]:
        """Count it no more: it has ended. Returns the keys of its buckets."""
        released = []
        for demand in slots(demands, decision):
            key = demand.key
            left = self._by_key[key] - 1
            if left:
                self._by_key[key] = left
            else:
                del self._by_key[key]
            self.by_limit[demand.charge.limit] -= 1
            released.append(key)
        return released
