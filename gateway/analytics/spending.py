"""`Spending`: what each caller was charged, in a bounded number of counters.

The first callers have a counter each, which costs a request two look-ups in a dictionary. Those for whom no counter is
left share the `TopK`. So up to so many callers are counted exactly, and for more its bounds hold.
"""

from collections.abc import Iterable, Sequence
from heapq import nlargest

from gateway.analytics.batch import Spent
from gateway.analytics.top_k import TopK

_COUNTERS = 10_000
_SHARED_COUNTERS = 1_000
_MAX_ROWS = 500
"""Rows at most, unless there are more endpoints with limits than that: each has one in any case."""


class Account:
    """What is charged together: requests to one endpoint, by the same limits.

    Args:
        endpoint: Its name.
        limits: The limits that charge each request; all charge it the same.

    Attributes:
        callers: Tokens of the callers that have a counter, by digest.
        total: Tokens of all callers.
    """

    __slots__ = ("callers", "endpoint", "limits", "total")

    def __init__(self, endpoint: str, limits: Sequence[str]) -> None:
        self.endpoint = endpoint
        self.limits = limits
        self.callers: dict[bytes, int] = {}
        self.total = 0


class Spending:
    """Counts what callers were charged.

    Args:
        counters: Callers that get a counter of their own.
        shared: Counters of the others.
    """

    __slots__ = ("_free", "_others")

    def __init__(self, counters: int = _COUNTERS, shared: int = _SHARED_COUNTERS) -> None:
        self._free = counters
        self._others: TopK[tuple[Account, bytes]] = TopK(shared)

    def charge(self, account: Account, caller: bytes, cost: int) -> None:
        """Count what a request was charged: 1 token or more."""
        account.total += cost
        callers = account.callers
        spent = callers.get(caller)
        if spent is not None:
            callers[caller] = spent + cost
        elif self._free:
            self._free -= 1
            callers[caller] = cost
        else:
            self._others.add((account, caller), cost)

    def rows(self, accounts: Iterable[Account], most: int) -> list[Spent]:
        """The callers that were charged most, highest first, and all others together.

        Args:
            accounts: All that were charged.
            most: Callers of each endpoint and limit; fewer if there are many of these.
        """
        for (account, caller), cost in self._others.top(len(self._others)):
            account.callers[caller] = account.callers.get(caller, 0) + cost
        totals: dict[tuple[str, str], int] = {}
        callers: dict[tuple[str, str], dict[bytes, int]] = {}
        for account in accounts:
            for limit in account.limits:
                pair = account.endpoint, limit
                totals[pair] = totals.get(pair, 0) + account.total
                found = callers.setdefault(pair, {})
                for caller, cost in account.callers.items():
                    found[caller] = found.get(caller, 0) + cost
        most = max(1, min(most, _MAX_ROWS // max(1, len(totals))))
        rows = []
        for (endpoint, limit), total in totals.items():
            top = nlargest(most, callers[endpoint, limit].items(), key=lambda each: each[1])
            rows += [Spent(endpoint, limit, caller.decode(), cost) for caller, cost in top]
            rest = total - sum(cost for _, cost in top)
            if rest:
                rows.append(Spent(endpoint, limit, "", rest))
        return rows
