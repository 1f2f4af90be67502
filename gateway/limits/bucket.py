"""The token bucket: `burst` tokens at most, refilled one every `interval` microseconds.

It is kept in the form of the generic cell rate algorithm (GCRA; ITU-T I.371, virtual scheduling): instead of a number
of tokens and the time at which they were counted, a bucket keeps one instant, at which it will be full again. What it
*owes* is the time from now to that instant. A request of cost c adds c x interval to the debt, and may pass if the debt
stays within burst x interval. A bucket that is full again is the same as one that was never used, so a key's time to
live is the debt itself.

The interval under which the instant was written is kept with it. If the rate has changed since, the debt is converted,
so that the number of tokens spent stays the same.

`take` is the executable specification: `MemoryLimiter` and `Fallback` call it, `redis/take.lua` mirrors it, and a
property test plays the same demands to both and requires equal results. All numbers are integers below 2**53, so Lua's
doubles hold them exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from gateway.limits.rate import Rate

LARGEST = 2**53
"""Integers below this are exact in Lua's doubles."""

_MAX_DEBT = LARGEST // 4
"""Microseconds (about 71 years): still exact when today's date is added."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How fast a bucket refills and how much it holds.

    Attributes:
        rate: Tokens a period.
        burst: Tokens held at most.
        interval: Microseconds in which one token is refilled.
        capacity: Microseconds an empty bucket takes to fill: the largest debt.
        nearly_spent: The debt above which less than a fifth of the burst is left.

    Raises:
        ValueError: the burst is below 1, or so large that it takes decades to refill.
    """

    rate: Rate
    burst: int
    interval: int = field(init=False, repr=False)
    capacity: int = field(init=False, repr=False)
    nearly_spent: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.burst < 1:
            raise ValueError("a burst is at least 1")
        object.__setattr__(self, "interval", self.rate.interval)
        object.__setattr__(self, "capacity", self.burst * self.interval)
        object.__setattr__(self, "nearly_spent", 4 * self.capacity // 5)
        if self.capacity > _MAX_DEBT:
            raise ValueError(f"a burst of {self.burst} at {self.rate} takes more than 71 years to refill")

    def __str__(self) -> str:
        return f"{self.rate} burst {self.burst}"


class FailurePolicy(Enum):
    """What becomes of a limit while Redis is unavailable: the setting `when_redis_is_down`."""

    WHOLE = "whole"
    """Each worker enforces the whole limit from memory."""
    LOCAL = "local"
    """Each worker enforces its share of the limit from memory."""
    ALLOW = "allow"
    """The limit is ignored."""
    REFUSE = "refuse"
    """Requests that fall under the limit get a plain 503."""


class Charge(NamedTuple):
    """What one request costs one bucket.

    Attributes:
        limit: Name of the limit the bucket belongs to.
        quota: The bucket's size and speed.
        cost: Tokens; 0 reads the bucket without charging it.
        enforced: Whether this bucket may refuse. A shadow bucket is charged when it can pay, and never refuses.
        due: Microseconds of debt that the cost adds.
        failure_policy: What becomes of the limit while Redis is unavailable.
    """

    limit: str
    quota: Quota
    cost: int
    enforced: bool
    due: int
    failure_policy: FailurePolicy = FailurePolicy.WHOLE

    @classmethod
    def of(
        cls,
        limit: str,
        quota: Quota,
        cost: int = 1,
        *,
        enforced: bool = True,
        failure_policy: FailurePolicy = FailurePolicy.WHOLE,
    ) -> "Charge":
        """A charge of `cost` tokens on a bucket of `limit`. A cost above the burst can never be paid.

        Raises:
            ValueError: the cost is negative.
        """
        if cost < 0:
            raise ValueError("a cost is at least 0")
        return cls(limit, quota, cost, enforced, min(cost, quota.burst + 1) * quota.interval, failure_policy)

    def with_quota(self, quota: Quota) -> "Charge":
        """The same charge on a bucket of another size and speed."""
        return self.of(self.limit, quota, self.cost, enforced=self.enforced, failure_policy=self.failure_policy)

    def with_cost(self, cost: int) -> "Charge":
        """The same charge with another cost, in tokens."""
        return self.of(self.limit, self.quota, cost, enforced=self.enforced, failure_policy=self.failure_policy)


class Demand(NamedTuple):
    """A bucket's key, and what to charge to it."""

    key: bytes
    charge: Charge


class State(NamedTuple):
    """What is kept of a bucket that is not full.

    Attributes:
        full_at: The instant, in microseconds since 1970, at which it is full again.
        interval: Microseconds in which one token was refilled when this was written.
    """

    full_at: int
    interval: int


class Decision(NamedTuple):
    """The result for the demands of one request.

    Attributes:
        allowed: Whether every enforced bucket could pay. Only then were the buckets charged that could pay.
        now: The time of the decision, microseconds since 1970, by the clock of whoever keeps the buckets.
        owed: What each bucket owed before, in microseconds, in the order of the demands.
        refused: Positions of the demands that could not be paid, shadow ones included.
    """

    allowed: bool
    now: int
    owed: tuple[int, ...]
    refused: tuple[int, ...]


def owe(state: State | None, quota: Quota, now: int) -> int:
    """Microseconds until a bucket is full, at most the capacity of `quota`.

    No bucket owes more than an empty one, even if it was charged under a larger burst, or before the clock stepped
    back. Such a bucket stays empty until the instant in its state comes near: for as long as the old bucket took to
    fill, or for the length of the step.
    """
    if state is None or state.full_at <= now:
        return 0
    debt = state.full_at - now
    if state.interval != quota.interval:
        tokens, part = divmod(debt, state.interval)
        debt = tokens * quota.interval + math.ceil(float(part) * float(quota.interval) / float(state.interval))
    return min(debt, quota.capacity)


def judge(demands: Sequence[Demand], owed: Sequence[int], now: int) -> Decision:
    """Decide on demands to buckets that owe `owed`: either all enforced ones can pay, or nothing is charged."""
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
    """Decide on demands, and charge all enforced ones or none.

    Returns:
        The decision, and for each demand the bucket's new state, or None if the bucket stays as it was.
    """
    owed = [
        0 if state is None else owe(state, charge.quota, now)
        for (_, charge), state in zip(demands, states, strict=True)
    ]
    decision = judge(demands, owed, now)
    if not decision.allowed:
        return decision, (None,) * len(owed)
    refused = decision.refused
    return decision, tuple(
        [
            State(now + debt + charge.due, charge.quota.interval) if charge.due and position not in refused else None
            for position, ((_, charge), debt) in enumerate(zip(demands, owed, strict=True))
        ]
    )
