"""`forecast`: whether buckets could pay for a request now, and if not, from when, if nothing else is charged."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.limits.charge import Demand


class BucketForecast(NamedTuple):
    """One bucket.

    Attributes:
        remaining: Whole tokens that such requests can still take.
        payable_at: The instant, in microseconds since 1970, from which it can pay; None if it never can.
    """

    remaining: int
    payable_at: int | None


class Forecast(NamedTuple):
    """A request.

    Attributes:
        buckets: In the order of the demands.
        passes_at: The instant from which all enforced buckets can pay; None if one never can.
    """

    buckets: tuple[BucketForecast, ...]
    passes_at: int | None


def forecast(demands: Sequence[Demand], owed: Sequence[int], now: int) -> Forecast:
    """What becomes of a request at `now`, or later, whose buckets owe `owed`; see `judge`."""
    buckets = tuple(_bucket(demand, debt, now) for demand, debt in zip(demands, owed, strict=True))
    passes: int | None = now
    for demand, (_, payable_at) in zip(demands, buckets, strict=True):
        if demand.charge.enforced and passes is not None:
            passes = None if payable_at is None else max(passes, payable_at)
    return Forecast(buckets, passes)


def _bucket(demand: Demand, debt: int, now: int) -> BucketForecast:
    charge = demand.charge
    return BucketForecast(charge.left(debt), charge.payable_at(debt, now))
