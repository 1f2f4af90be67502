"""`Fallback`: a worker's part of the limits, enforced from memory while the store is away.

Of N workers each has a bucket that fills at rate / N and holds burst / N. That is the shared bucket with every token
weighing N times as much; so it is kept as such, by the same law, and goes on from what the store last said of it. A
request that outweighs the whole share passes when the bucket is full, and is then paid off at the share's rate.

What is spent here is noted, and charged to the shared bucket when the store is back. What does not fit into it then,
because others spent the same tokens, stays noted and weighs on this worker's share until it does fit. So a worker is
never ahead by more than its share, however often the store goes away: see docs/bound.md.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.limiter.last_known import LastKnown
from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.bucket import LARGEST, Charge, Decision, Demand, Outage, Quota, State, owe, take
from gateway.redis.scripts import Debt


@dataclass(slots=True)
class _Tab:
    """What this worker did with a bucket and the store does not know of.

    Attributes:
        quota: The bucket's size and speed, as last charged.
        known: The instant before which the store knew it not to be full, or 0.
        spent: Microseconds of debt, in the shared bucket's weight, not yet charged to it.
        state: The worker's own bucket.
        is_current: Whether `state` counts; not so once the store has been heard again.
    """

    quota: Quota
    known: int = 0
    spent: int = 0
    state: State | None = None
    is_current: bool = False


class Fallback:
    """Decides from memory.

    Args:
        seen: What the store last said.
        max_buckets: Buckets kept; the least recently used goes first, and what was spent from it is forgotten.

    Attributes:
        workers: N, at least 1.
        evicted: Buckets forgotten with something spent.
    """

    __slots__ = ("_frozen_at", "_max", "_seen", "_tabs", "evicted", "workers")

    def __init__(self, seen: LastKnown, max_buckets: int) -> None:
        self._seen = seen
        self._max = max_buckets
        self._tabs: OrderedDict[bytes, _Tab] = OrderedDict()
        self._frozen_at = LARGEST
        self.workers = 1
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._tabs)

    def decide(self, demands: Sequence[Demand]) -> Verdict:
        """Decide without the store, each limit by what it says should happen then."""
        now = min(self._seen.clock(), self._frozen_at)
        nothing = (0,) * len(demands)
        if any(charge.outage is Outage.REFUSE and charge.enforced for _, charge in demands):
            return Verdict(Outcome.UNAVAILABLE, True, Decision(False, now, nothing, ()))
        counted = [place for place, (_, charge) in enumerate(demands) if charge.outage is not Outage.ALLOW]
        tabs = [self._open(demands[place], now) for place in counted]
        weighed = [Demand(demands[place].key, self._weigh(demands[place].charge)) for place in counted]
        decision, states = take(weighed, [tab.state for tab in tabs], now)
        owed = list(nothing)
        for place, tab, state, before in zip(counted, tabs, states, decision.owed, strict=True):
            owed[place] = before
            if state is not None:
                tab.state = state
                tab.spent += demands[place].charge.due
        refused = tuple(counted[place] for place in decision.refused)
        outcome = Outcome.ALLOWED if decision.allowed else Outcome.REFUSED
        return Verdict(outcome, True, Decision(decision.allowed, now, tuple(owed), refused))

    def _open(self, demand: Demand, now: int) -> _Tab:
        key, quota = demand.key, demand.charge.quota
        tab = self._tabs.get(key)
        if tab is None:
            tab = self._tabs[key] = _Tab(quota)
            if len(self._tabs) > self._max:
                _, oldest = self._tabs.popitem(last=False)
                self.evicted += oldest.spent > 0
        else:
            self._tabs.move_to_end(key)
        if tab.quota.interval != quota.interval:
            tab.spent = -(-tab.spent * quota.interval // tab.quota.interval)
        tab.quota = quota
        if not tab.is_current:
            seen = self._seen.buckets.state(key)
            debt = owe(seen, quota, now) + tab.spent * self.workers
            tab.known = 0 if seen is None else seen.full_at
            tab.state = State(now + debt, quota.interval) if debt else None
            tab.is_current = True
        return tab

    def _weigh(self, charge: Charge) -> Charge:
        quota, due = charge.quota, charge.due * self.workers
        if charge.cost <= quota.burst and due > quota.capacity:
            quota = Quota(quota.rate, charge.cost * self.workers)
        return charge._replace(quota=quota, due=due)

    def freeze(self) -> None:
        """Stop refilling: the store is back, and its buckets fill for all."""
        self._frozen_at = self._seen.clock()

    def thaw(self) -> None:
        """Refill again: the store is not back after all."""
        self._frozen_at = LARGEST

    def owing(self, most: int, *, touched: bool = False) -> Iterator[list[Debt]]:
        """What the store has yet to be charged with, in lists of at most `most`.

        Args:
            most: Debts in a list.
            touched: Also buckets from which nothing was spent: the store may have forgotten what they owe.
        """
        debts = []
        for key in list(self._tabs):
            tab = self._tabs.get(key)
            if tab is not None and (tab.spent or (touched and tab.known)):
                debts.append(Debt(key, tab.quota, tab.spent, tab.known if tab.is_current else 0))
                if len(debts) == most:
                    yield debts
                    debts = []
        if debts:
            yield debts

    def settle(self, debt: Debt, owed: int) -> None:
        """Note that a debt was charged to a bucket that owed so much: what fitted in is paid."""
        tab = self._tabs.get(debt.key)
        if tab is not None:
            tab.spent -= min(debt.due, max(0, debt.quota.capacity - owed))

    def resume(self) -> None:
        """Hand over to the store. Only what it could not be charged with stays noted."""
        self.thaw()
        self._tabs = OrderedDict((key, tab) for key, tab in self._tabs.items() if tab.spent)
        for tab in self._tabs.values():
            tab.is_current = False

    def forget(self, keys: Iterable[bytes]) -> None:
        """Take buckets for full, and nothing as spent from them."""
        for key in keys:
            self._tabs.pop(key, None)
