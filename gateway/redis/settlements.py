"""`Settlements`: what ended requests still owe, or get back, until the next round trip takes it to Redis."""

from collections.abc import Iterable
from typing import NamedTuple

from gateway.limits.debt import Debt
from gateway.limits.quota import LARGEST_DEBT

_MOST = 128
"""Buckets settled in one round trip, which also carries checks: they should not wait for it."""


class Settlement(NamedTuple):
    """What is settled of one bucket.

    Attributes:
        debt: What is due, or refunded.
        times: How many were added up.
    """

    debt: Debt
    times: int


class Settlements:
    """Debts that wait. Those of one bucket are added up: a thousand requests of a user become one debt."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[bytes, Settlement] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, debts: Iterable[Debt]) -> None:
        """Have debts wait."""
        for debt in debts:
            waiting = self._waiting.get(debt.key)
            self._waiting[debt.key] = Settlement(debt, 1) if waiting is None else _add(waiting, debt)

    def take(self) -> list[Settlement]:
        """Remove those that waited longest, as many as fit into one round trip."""
        taken = list(self._waiting.values())[:_MOST]
        for debt, _ in taken:
            del self._waiting[debt.key]
        return taken

    def drop(self) -> int:
        """Remove all. Returns how many were added."""
        times = sum(each.times for each in self._waiting.values())
        self._waiting.clear()
        return times


def _add(waiting: Settlement, debt: Debt) -> Settlement:
    before, due, quota = waiting.debt, waiting.debt.due, debt.quota
    if quota.calendar is not None:
        period = quota.calendar.start(debt.at)
        if period != quota.calendar.start(before.at):
            # All tokens of the earlier period have come back.
            return Settlement(max(before, debt, key=lambda each: each.at), waiting.times + 1)
    elif before.quota.interval != quota.interval:
        due = -(-due * quota.interval // before.quota.interval)  # as many tokens as before
    total = max(-LARGEST_DEBT, min(due + debt.due, LARGEST_DEBT))
    return Settlement(debt._replace(due=total), waiting.times + 1)
