"""The token bucket: `burst` tokens at most, refilled one every `interval` microseconds.

Kept in the form of the generic cell rate algorithm (ITU-T I.371, virtual scheduling): instead of a count of tokens and
the time it was taken, a bucket keeps the one instant at which it will be full again. What it *owes* is the time from
now to that instant. A request of cost c adds c x interval to the debt and may pass while the debt stays within
burst x interval. A bucket that is full again and one that never was are the same, so the time a key has to live is
the debt itself.

With the instant goes the interval it was written under. When the rate has been changed since, the debt is converted,
so that so many tokens spent stay so many tokens spent.

`take` is the executable specification: `stores.local` calls it, `redis/take.lua` mirrors it, and a property test
holds both to the same answers. All numbers are integers below 2**53, so Lua's doubles hold them exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from gateway.limits.rate import Rate

LARGEST = 2**53
"""Integers below this are the same in Python and in Lua's doubles."""

_LONGEST_DEBT = LARGEST // 4
"""Microseconds (about 71 years): with today's date added, still exact."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How fast a bucket refills and how much it holds.

    Attributes:
        rate: Tokens a period.
        burst: Tokens held at most.
        interval: Microseconds a token takes to come back.
        capacity: Microseconds an empty bucket takes to fill: the largest debt.

    Raises:
        ValueError: the burst is below 1, or so large that it takes decades to refill.
    """

    rate: Rate
    burst: int
    interval: int = field(init=False, repr=False)
    capacity: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.burst < 1:
            raise ValueError("a burst is at least 1")
        object.__setattr__(self, "interval", self.rate.interval)
        object.__setattr__(self, "capacity", self.burst * self.interval)
        if self.capacity > _LONGEST_DEBT:
            raise ValueError(f"a burst of {self.burst} at {self.rate} takes more than 71 years to refill")

    def __str__(self) -> str:
        return f"{self.rate} burst {self.burst}"


class Outage(Enum):
    """What becomes of a limit while the shared store is away."""

    LOCAL = "local"
    """Each worker enforces its share of the limit from memory."""
    ALLOW = "allow"
    """The limit does not count."""
    REFUSE = "refuse"
    """Requests under the limit are answered with a plain 503."""


class Charge(NamedTuple):
    """What one request costs one bucket.

    Attributes:
        limit: Name of the limit the bucket belongs to.
        quota: The bucket's size and speed.
        cost: Tokens; 0 looks without touching.
        enforced: Whether this bucket may refuse. A shadow bucket is charged when it can pay and never blocks.
        due: Microseconds of debt the cost adds.
        outage: What becomes of the limit while the store is away.
    """

    limit: str
    quota: Quota
    cost: int
    enforced: bool
    due: int
    outage: Outage = Outage.LOCAL

    @classmethod
    def of(
        cls, limit: str, quota: Quota, cost: int = 1, *, enforced: bool = True, outage: Outage = Outage.LOCAL
    ) -> "Charge":
        """A charge of `cost` tokens on a bucket of `limit`. A cost above the burst can never be paid.

        Raises:
            ValueError: the cost is negative.
        """
        if cost < 0:
            raise ValueError("a cost is at least 0")
        return cls(limit, quota, cost, enforced, min(cost, quota.burst + 1) * quota.interval, outage)


class Demand(NamedTuple):
    """A bucket, by its key, and what is to be taken from it."""

    key: bytes
    charge: Charge


class State(NamedTuple):
    """What is kept of a bucket that is not full.

    Attributes:
        full_at: The instant, in microseconds of the store's clock, at which it is full again.
        interval: Microseconds a token took to come back when this was written.
    """

    full_at: int
    interval: int


class Decision(NamedTuple):
    """What a store says to a set of demands.

    Attributes:
        allowed: Every enforced bucket could pay; then, and only then, those that could were charged.
        now: The store's clock, microseconds since 1970.
        owed: What each bucket owed before, in microseconds, in the order of the demands.
        refused: Positions of the demands that could not be paid, shadow ones included.
    """

    allowed: bool
    now: int
    owed: tuple[int, ...]
    refused: tuple[int, ...]


def owe(state: State | None, quota: Quota, now: int) -> int:
    """Microseconds until a bucket is full, at most the capacity of `quota`.

    No bucket owes more than an empty one, whatever it held under a larger burst, or before its clock stepped back. Such
    a bucket stays empty until the instant kept in its state comes near: as long as the old one took to fill, or for the
    length of the step.
    """
    if state is None or state.full_at <= now:
        return 0
    debt = state.full_at - now
    if state.interval != quota.interval:
        tokens, part = divmod(debt, state.interval)
        debt = tokens * quota.interval + math.ceil(float(part) * float(quota.interval) / float(state.interval))
    return min(debt, quota.capacity)


def judge(demands: Sequence[Demand], owed: Sequence[int], now: int) -> Decision:
    """Decide on demands against buckets that owe `owed`: all enforced ones can pay, or nothing is taken."""
    allowed = True
    refused: tuple[int, ...] = ()
    for position, (_, charge) in enumerate(demands):
        if owed[position] + charge.due > charge.quota.capacity:
            refused += (position,)
            if charge.enforced:
                allowed = False
    return Decision(allowed, now, tuple(owed), refused)


def take(
    demands: Sequence[Demand], states: Sequence[State | None], now: int
) -> tuple[Decision, tuple[State | None, ...]]:
    """Decide on demands and charge them, all enforced ones or none.

    Returns:
        The decision, and for each demand the bucket's new state, or None where the bucket is left as it was.
    """
    owed = [owe(state, demand.charge.quota, now) for demand, state in zip(demands, states, strict=True)]
    decision = judge(demands, owed, now)
    return decision, tuple(
        State(now + debt + charge.due, charge.quota.interval)
        if decision.allowed and charge.due and position not in decision.refused
        else None
        for position, ((_, charge), debt) in enumerate(zip(demands, owed, strict=True))
    )
