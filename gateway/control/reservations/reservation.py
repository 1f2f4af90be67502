"""`Reservation`: what was charged for work whose cost is not known yet."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.bucket import Decision
from gateway.limits.calendar import Calendar, CalendarRate
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate

TTL = 60
"""Seconds for which something is reserved if the service does not say."""

MAX_TTL = 86_400
"""Seconds for which something may be reserved."""


class Reservation(NamedTuple):
    """What was charged.

    Attributes:
        endpoint: The endpoint's name.
        weight: Tokens that were charged to each bucket.
        at: When, in microseconds since 1970.
        buckets: The buckets that were charged: key, size and speed.
    """

    endpoint: str
    weight: int
    at: int
    buckets: tuple[tuple[bytes, Quota], ...]

    @classmethod
    def of(cls, endpoint: str, weight: int, demands: Sequence[Demand], decision: Decision) -> Self:
        """The reservation of an allowed question: shadows that could not pay were not charged."""
        charged = [
            (each.key, each.charge.quota)
            for position, each in enumerate(demands)
            if each.charge.due and not each.charge.quota.at_once and position not in decision.refused
        ]
        return cls(endpoint, weight, decision.now, tuple(charged))

    def demands(self) -> tuple[list[Demand], Verdict]:
        """The demands that were charged, and the verdict on them."""
        demands = [Demand(key, Charge.of("", quota, self.weight)) for key, quota in self.buckets]
        decision = Decision(True, self.at, (0,) * len(demands), ())
        return demands, Verdict(Outcome.ALLOWED, False, decision)

    def text(self) -> str:
        """As it is stored."""
        buckets = [[key.decode(), *_members(quota)] for key, quota in self.buckets]
        return json.dumps([self.endpoint, self.weight, self.at, buckets], separators=(",", ":"))

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """The reservation that `text` has written."""
        endpoint, weight, at, buckets = json.loads(text)
        return cls(endpoint, weight, at, tuple((key.encode(), _quota(members)) for key, *members in buckets))


def _members(quota: Quota) -> list[Any]:
    rate = quota.rate
    if isinstance(rate, CalendarRate):
        return [quota.burst, rate.tokens, rate.calendar.unit, rate.calendar.zone.key, rate.calendar.from_day]
    return [quota.burst, rate.tokens, rate.seconds] if isinstance(rate, Rate) else []


def _quota(members: Sequence[Any]) -> Quota:
    burst, tokens, period, *calendar = members
    if not calendar:
        return Quota(Rate(tokens, period), burst)
    zone, from_day = calendar
    return Quota(CalendarRate(tokens, Calendar(period, ZoneInfo(zone), from_day)), burst)
