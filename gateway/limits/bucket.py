"""The token bucket: `burst` tokens at most, refilled one every `interval` microseconds.

It is kept in the form of the generic cell rate algorithm (GCRA; ITU-T I.371, virtual scheduling): instead of a number
of tokens and the time at which they were counted, a bucket keeps one instant, at which it will be full again. What it
*owes* is the time from now to that instant. A request of cost c adds c x interval to the debt, and may pass if the debt
stays within burst x interval. A bucket that is full again is the same as one that was never used, so a key's time to
live is the debt itself.

The interval under which the instant was written is kept with it. If the rate has changed since, the debt is converted,
so that the number of tokens spent stays the same.

A calendar quota has the same arithmetic. Its debt counts from the start of the period instead of from now, and a token
is one microsecond of it: `full_at` is the start plus what was used. When the next period starts, that lies in the past,
so the bucket is full.

A limit of requests at the same time has the same arithmetic, too. Its debt counts from nothing at all: it is the number
of requests in flight, one for each, and no time takes anything from it.

A part of a bucket may be kept for requests that matter more. A charge then has a ceiling below the capacity, and may
pass if the debt stays within that; one of nothing always passes. What a bucket owes is the same for all, so ceilings
only lower what is admitted.

`take` is the executable specification: `MemoryLimiter` and `Fallback` call it, `redis/bucket.lua` and `take.lua` mirror
it, and a property test plays the same demands to both and requires equal results. All numbers are integers below 2**53,
so Lua's doubles hold them exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from gateway.limits.at_once import UNIT, AtOnce
from gateway.limits.calendar import Calendar, CalendarRate
from gateway.limits.rate import Rate

LARGEST = 2**53
"""Integers below this are exact in Lua's doubles."""

LARGEST_DEBT = LARGEST // 4
"""Microseconds (about 71 years): still exact when today's date is added."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How fast a bucket refills and how much it holds.

    Attributes:
        rate: Tokens a period, which come back evenly or, of a calendar, all together; or `AtOnce`.
        burst: Tokens held at most.
        interval: Microseconds in which one token is refilled.
        capacity: Microseconds an empty bucket takes to fill: the largest debt.
        nearly_spent: The debt above which less than a fifth of the burst is left.
        calendar: Whose periods count; None if there are none.
        at_once: Whether it counts requests in flight.

    Raises:
        ValueError: the burst is below 1, or so large that it takes decades to refill.
    """

    rate: Rate | CalendarRate | AtOnce
    burst: int
    interval: int = field(init=False, repr=False)
    capacity: int = field(init=False, repr=False)
    nearly_spent: int = field(init=False, repr=False)
    calendar: Calendar | None = field(init=False, repr=False)
    at_once: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.burst < 1:
            raise ValueError("a burst is at least 1")
        object.__setattr__(self, "interval", self.rate.interval)
        object.__setattr__(self, "capacity", self.burst * self.interval)
        object.__setattr__(self, "nearly_spent", 4 * self.capacity // 5)
        object.__setattr__(self, "calendar", self.rate.calendar if isinstance(self.rate, CalendarRate) else None)
        object.__setattr__(self, "at_once", isinstance(self.rate, AtOnce))
        if self.capacity > LARGEST_DEBT:
            raise ValueError(f"a burst of {self.burst} at {self.rate} takes more than 71 years to refill")

    @classmethod
    def each_period(cls, rate: CalendarRate) -> "Quota":
        """A calendar quota: all tokens of a period can be spent at once."""
        return cls(rate, rate.tokens)

    def with_calendar_of(self, other: "Quota") -> "Quota":
        """As much in each period of another quota's calendar; without one, the same."""
        if other.calendar is None or not isinstance(self.rate, CalendarRate):
            return self
        return Quota(self.rate.with_calendar(other.calendar), self.burst)

    @property
    def unit(self) -> str | None:
        """What tells its form: the periods of its calendar, such as a month, or "at once"; None for a rate."""
        if self.at_once:
            return UNIT
        return None if self.calendar is None else self.calendar.unit

    def origin(self, now: int) -> int:
        """The instant from which a debt counts: `now`, the start of the calendar's period, or 0 of requests at once."""
        if self.at_once:
            return 0
        return now if self.calendar is None else self.calendar.start(now)

    def full_at(self, owed: int, now: int) -> int:
        """When a bucket that owes so much is full again, if nothing else is charged.

        Nobody knows when requests in flight end: for these it is `now`.
        """
        if self.at_once:
            return now
        return now + owed if self.calendar is None else self.calendar.end(now)

    def __str__(self) -> str:
        if self.at_once:
            return f"{self.burst} {UNIT}"
        return f"{self.rate} burst {self.burst}" if self.calendar is None else str(self.rate)


def quota_fields(quota: Quota) -> dict[str, str | int]:
    """A quota as JSON has it.

    That is ``rate`` and ``burst``, or ``quota`` and ``zone`` and, but for days, ``from_day``, or ``at_once``.
    """
    if quota.at_once:
        return {"at_once": quota.burst}
    calendar = quota.calendar
    if calendar is None:
        return {"rate": str(quota.rate), "burst": quota.burst}
    first = calendar.first_day
    return {"quota": str(quota), "zone": calendar.zone.key, **({} if first is None else {"from_day": first})}


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
        enforced: Whether this bucket may refuse. Another one is charged when it can pay, and never refuses.
        due: Microseconds of debt that the cost adds.
        ceiling: The largest debt with which the bucket can pay: its capacity, less what is kept for requests that
            matter more.
        failure_policy: What becomes of the limit while Redis is unavailable.
        reserve: The part of the bucket that is kept for them, from 0 to 1.
        tells: Whether the upstream is told when this bucket cannot pay. Only of one that does not refuse.
        refunds: Whether what the bucket owes can shrink other than by time, because requests may cost less than was
            charged for them.
    """

    limit: str
    quota: Quota
    cost: int
    enforced: bool
    due: int
    ceiling: int
    failure_policy: FailurePolicy = FailurePolicy.WHOLE
    reserve: float = 0.0
    tells: bool = False
    refunds: bool = False

    @classmethod
    def of(
        cls,
        limit: str,
        quota: Quota,
        cost: int = 1,
        *,
        enforced: bool = True,
        failure_policy: FailurePolicy = FailurePolicy.WHOLE,
        reserve: float = 0.0,
        tells: bool = False,
        refunds: bool = False,
    ) -> "Charge":
        """A charge of `cost` tokens on a bucket of `limit`. A cost above the ceiling can never be paid.

        Raises:
            ValueError: the cost is negative.
        """
        if cost < 0:
            raise ValueError("a cost is at least 0")
        due = min(cost, quota.burst + 1) * quota.interval
        ceiling = ceiling_of(quota, reserve)
        return cls(limit, quota, cost, enforced, due, ceiling, failure_policy, reserve, tells, refunds)

    def with_quota(self, quota: Quota) -> "Charge":
        """The same charge on a bucket of another size and speed."""
        return self._changed(quota, self.cost)

    def with_cost(self, cost: int) -> "Charge":
        """The same charge with another cost, in tokens."""
        return self._changed(self.quota, cost)

    def closed(self) -> "Charge":
        """The same charge on a bucket from which nobody may take anything, so that it refuses whatever a request costs.

        The law of a reserve: of all there is.
        """
        return self._replace(cost=max(self.cost, 1), due=max(self.due, self.quota.interval), ceiling=0, reserve=1.0)

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be taken, see `closed`."""
        return self.ceiling == 0

    def _changed(self, quota: Quota, cost: int) -> "Charge":
        return self.of(
            self.limit,
            quota,
            cost,
            enforced=self.enforced,
            failure_policy=self.failure_policy,
            reserve=self.reserve,
            tells=self.tells,
            refunds=self.refunds,
        )

    @property
    def over(self) -> str:
        """What it means, in metrics and reports, that this bucket cannot pay."""
        if self.enforced:
            return "refused"
        return "told" if self.tells else "shadow_refused"

    @property
    def most(self) -> int:
        """Whole tokens that a request can take from the full bucket."""
        return self.ceiling // self.quota.interval

    def left(self, owed: int) -> int:
        """Whole tokens that such requests can still take from a bucket that owes so much."""
        return max(0, self.ceiling - owed) // self.quota.interval

    def payable_at(self, owed: int, now: int) -> int | None:
        """From when a bucket that owes so much can pay, if nothing else is charged.

        None if it never can, or, of a limit of requests at once, not before one of them ends.
        """
        missing = owed + self.due - self.ceiling
        if self.due > self.ceiling or (missing > 0 and self.due and self.quota.at_once):
            return None
        return now if missing <= 0 or not self.due else self.quota.full_at(missing, now)


def ceiling_of(quota: Quota, reserve: float) -> int:
    """The largest debt, in microseconds, that leaves a part of a bucket's capacity, `reserve`, untouched."""
    return quota.capacity - round(quota.capacity * reserve)


class Demand(NamedTuple):
    """A bucket's key, and what to charge to it."""

    key: bytes
    charge: Charge


class State(NamedTuple):
    """What is kept of a bucket that is not full.

    Attributes:
        full_at: The instant, in microseconds since 1970, at which it is full again; of a calendar quota, the period's
            start and what was used; of a limit of requests at once, how many are in flight.
        interval: Microseconds in which one token was refilled when this was written.
        rest: Microseconds from `full_at` to the end of the calendar's period, when it is full again; 0 without one.
    """

    full_at: int
    interval: int
    rest: int = 0


class Decision(NamedTuple):
    """The result for the demands of one request.

    Attributes:
        allowed: Whether every enforced bucket could pay. Only then were the buckets charged that could pay.
        now: The time of the decision, microseconds since 1970, by the clock of whoever keeps the buckets.
        owed: What each bucket owed before, in microseconds, in the order of the demands.
        refused: Positions of the demands that could not be paid, also of buckets that do not refuse.
    """

    allowed: bool
    now: int
    owed: tuple[int, ...]
    refused: tuple[int, ...]


def owe(state: State | None, quota: Quota, now: int) -> int:
    """Microseconds until a bucket is full, or tokens used of a calendar quota.

    That may be more than the capacity of `quota`: if the bucket was charged under a larger burst, before the clock
    stepped back, or for requests that cost more than was estimated. It is empty until that is paid for, or the clock
    has caught up.
    """
    origin = quota.origin(now)
    if state is None or state.full_at <= origin:
        return 0
    debt = state.full_at - origin
    if state.interval != quota.interval:
        tokens, part = divmod(debt, state.interval)
        debt = tokens * quota.interval + math.ceil(float(part) * float(quota.interval) / float(state.interval))
    return min(debt, LARGEST_DEBT)


def owing(quota: Quota, debt: int, now: int) -> State:
    """The state of a bucket that owes `debt`."""
    if quota.calendar is None:
        return State(quota.origin(now) + debt, quota.interval)
    starts = quota.calendar.around(now)
    full_at = starts.this + debt
    return State(full_at, quota.interval, starts.next - full_at)


def judge(demands: Sequence[Demand], owed: Sequence[int], now: int) -> Decision:
    """Decide on demands to buckets that owe `owed`: either all enforced ones can pay, or nothing is charged."""
    allowed = True
    refused: tuple[int, ...] = ()
    for position, (_, charge) in enumerate(demands):
        if owed[position] + charge.due > charge.ceiling and charge.due:
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
            owing(charge.quota, debt + charge.due, now) if charge.due and position not in refused else None
            for position, ((_, charge), debt) in enumerate(zip(demands, owed, strict=True))
        ]
    )
