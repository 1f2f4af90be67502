"""`Report`: who is hitting which limit, in numbers. Made from `Totals`; how it is shown is in `text` and `html`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from gateway.analytics.batch import MINUTE
from gateway.analytics.sink import TimeRange, Totals

OUTCOMES = ("allowed", "refused", "shadow_refused", "unavailable")
_MAX_STEPS = 120
"""Steps in a chart at most."""

_DAY = 24 * 60
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, _DAY)
"""Minutes of a step: round numbers. Longer steps are whole days."""


class LimitRow(NamedTuple):
    """The decisions of a limit, at an endpoint, for callers of a tier.

    Attributes:
        limit: Its name.
        endpoint: Its name.
        tier: Its name; empty for none.
        counts: How often, by outcome.
    """

    limit: str
    endpoint: str
    tier: str
    counts: Mapping[str, int]

    @property
    def refused(self) -> int:
        """Requests refused."""
        return self.counts.get("refused", 0)

    @property
    def share(self) -> float:
        """The share of requests that was refused, or would have been."""
        return (self.refused + self.counts.get("shadow_refused", 0)) / sum(self.counts.values())


class CallerRow(NamedTuple):
    """A caller that a limit refused.

    Attributes:
        limit: Its name.
        caller: The caller's keyed digest; empty for all others together.
        at_least: How often at least.
        at_most: How often at most.
    """

    limit: str
    caller: str
    at_least: int
    at_most: int


@dataclass(frozen=True, slots=True)
class Report:
    """Who is hitting which limit.

    Attributes:
        period: The time that is reported on.
        source: Where the counts are stored.
        requests: Requests decided, by outcome.
        limits: The decisions of limits, those that refused most first.
        callers: Who was refused, most first.
        refusals: Refusals by limit, and then by the start of the step.
        unreadable: Lines that could not be parsed.
        caller: The one caller that `callers` is about; None for all.
    """

    period: TimeRange
    source: str
    requests: Mapping[str, int]
    limits: Sequence[LimitRow]
    callers: Sequence[CallerRow]
    refusals: Mapping[str, Mapping[int, int]]
    unreadable: int
    caller: str | None = None


def time_range(since: int, until: int) -> TimeRange:
    """A range that begins and ends on whole minutes and includes both instants, in few enough steps for a chart."""
    since -= since % MINUTE
    until += -until % MINUTE
    least = (until - since) / MINUTE / _MAX_STEPS
    step = next((step for step in _STEPS if step >= least), ceil(least / _DAY) * _DAY)
    return TimeRange(since, until, MINUTE * step)


def make_report(
    period: TimeRange, totals: Totals, source: str, *, most_callers: int, caller: str | None = None
) -> Report:
    """Make a report.

    Args:
        period: The time to report on.
        totals: What is stored about it.
        source: Where.
        most_callers: Callers to list for each limit.
        caller: List only this one.
    """
    requests: Counter[str] = Counter()
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    refusals: dict[str, Counter[int]] = {}
    for (step, row), count in totals.decisions.items():
        if not row.limit:
            requests[row.outcome] += count
            continue
        counts.setdefault((row.limit, row.endpoint, row.tier), Counter())[row.outcome] += count
        if row.outcome == "refused":
            refusals.setdefault(row.limit, Counter())[step] += count
    limits = sorted((LimitRow(*key, each) for key, each in counts.items()), key=lambda row: (-row.refused, row[:3]))
    sums = {limit: steps.total() for limit, steps in refusals.items()}
    callers = [row for limit in sums for row in _callers(limit, sums[limit], totals.hits, most_callers, caller)]
    callers.sort(key=lambda row: (-sums[row.limit], row.limit, not row.caller, -row.at_least, row.caller))
    return Report(period, source, requests, limits, callers, refusals, totals.unreadable, caller)


def _callers(
    limit: str, total: int, hits: Mapping[tuple[str, str], int], most: int, only: str | None
) -> Iterable[CallerRow]:
    """The callers that a limit refused. Refusals that are not attributed to a caller may be anybody's."""
    known = sorted(((count, caller) for (name, caller), count in hits.items() if name == limit), reverse=True)
    rest = max(0, total - sum(count for count, _ in known))
    for position, (count, caller) in enumerate(known):
        if caller == only or (only is None and position < most):
            yield CallerRow(limit, caller, count, min(total, count + rest))
    unlisted = sum(count for count, _ in known[most:])
    if only is None and rest + unlisted:
        yield CallerRow(limit, "", unlisted, rest + unlisted)
