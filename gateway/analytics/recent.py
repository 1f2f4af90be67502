"""`read_recent`: what the gateways have counted for some limits in the last minutes."""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.analytics.batch import MINUTE, minute_of
from gateway.analytics.open import open_sink
from gateway.analytics.sink import SinkUnavailableError, TimeRange
from gateway.settings.analytics import Analytics

_MINUTES = 15
_TIMEOUT = 5.0
"""Seconds that the sink may take."""


class LimitDecisions(NamedTuple):
    """The decisions of a limit.

    Attributes:
        limit: Its name.
        counts: How many, by outcome.
        callers: How many callers it refused, at least: each worker names only those that were refused most.
    """

    limit: str
    counts: Mapping[str, int]
    callers: int


@dataclass(frozen=True, slots=True)
class RecentDecisions:
    """The decisions of limits in the last minutes.

    Attributes:
        period: These minutes. The last one is not over, and a worker has yet to write its counts.
        limits: In the order in which they were asked for.
    """

    period: TimeRange
    limits: Sequence[LimitDecisions]


async def read_recent(settings: Analytics, limits: Collection[str], now: float) -> RecentDecisions:
    """Read the decisions of limits from where analytics are kept, over a connection of its own.

    Args:
        settings: Where that is.
        limits: Names.
        now: The time, in seconds since 1970.

    Raises:
        SinkUnavailableError: it cannot be read, or not in time.
    """
    until = minute_of(now) + MINUTE
    period = TimeRange(until - _MINUTES * MINUTE, until)
    sink = open_sink(settings)
    try:
        async with asyncio.timeout(_TIMEOUT):
            totals = await sink.read(period)
    except TimeoutError:
        raise SinkUnavailableError(f"{settings} did not answer within {_TIMEOUT:.0f} s") from None
    finally:
        await sink.close()
    counts: dict[str, Counter[str]] = {name: Counter() for name in limits}
    for (_, row), count in totals.decisions.items():
        if row.limit in counts:
            counts[row.limit][row.outcome] += count
    callers = Counter(limit for limit, _ in totals.hits)
    return RecentDecisions(period, [LimitDecisions(name, each, callers[name]) for name, each in counts.items()])
