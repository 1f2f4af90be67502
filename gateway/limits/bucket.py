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
from dataclasses import dataclass
from typing import Final

from gateway.limits.charge import Demand
from gateway.limits.quota import LARGEST_DEBT, Quota


@dataclass(init=False, slots=True)
class State:
    """What is kept of a bucket that is not full.

    Attributes:
        full_at: The instant, in microseconds since 1970, at which it is full again; of a calendar quota, the period's
            start and what was used; of a limit of requests at once, how many are in flight.
        interval: Microseconds in which one token was refilled when this was written.
        rest: Microseconds from `full_at` to the end of the calendar's period, when it is full again; 0 without one.
    """

    full_at: Final[int]
    interval: Final[int]
    rest: Final[int]

    def __init__(self, full_at: int, interval: int, rest: int = 0) -> None:
        self.full_at = full_at
        self.interval = interval
        self.rest = rest


@dataclass(init=False, slots=True)
class Decision:
    """The result for the demands of one request.

    Attributes:
        allowed: Whether every enforced bucket could pay. Only then were the buckets charged that could pay.
        now: The time of the decision, microseconds since 1970, by the clock of whoever keeps the buckets.
        owed: What each bucket owed before, in microseconds, in the order of the demands.
        refused: Positions of the demands that could not be paid, also of buckets that do not refuse.
    """

    allowed: Final[bool]
    now: Final[int]
    owed: Final[tuple[int, ...]]
    refused: Final[tuple[int, ...]]

    def __init__(self, allowed: bool, now: int, owed: tuple[int, ...], refused: tuple[int, ...]) -> None:
        self.allowed = allowed
        self.now = now
        self.owed = owed
        self.refused = refused


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
    for position, demand in enumerate(demands):
        charge = demand.charge
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
    if len(states) != len(demands):
        raise ValueError(f"{len(demands)} demands and {len(states)} states are not pairs")
    owed = [owe(states[position], demand.charge.quota, now) for position, demand in enumerate(demands)]
    decision = judge(demands, owed, now)
    if not decision.allowed:
        return decision, (None,) * len(owed)
    refused = decision.refused
    return decision, tuple(
        [
            owing(charge.quota, owed[position] + charge.due, now) if charge.due and position not in refused else None
            for position, charge in enumerate([demand.charge for demand in demands])
        ]
    )
