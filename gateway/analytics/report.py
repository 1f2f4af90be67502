"""`Report`: who is hitting which limit, in numbers. Made from `Totals`; how it is shown is in `text` and `html`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from gateway.analytics.batch import MINUTE
from gateway.analytics.sink import TimeRange, Totals
from gateway.limits.limit import is_candidate, live_name

OF_REQUESTS = ("allowed", "refused", "unavailable")
"""What becomes of requests."""

OUTCOMES = ("allowed", "refused", "told", "shadow_refused", "unavailable")
"""What limits decide."""

_MAX_STEPS = 120
"""Steps in a chart at most."""

_DAY = 24 * 60
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, _DAY)
"""Minutes of a step: round numbers. Longer steps are whole days."""


Timeline = Mapping[str, Mapping[int, int]]
"""How often, by outcome, and then by the start of the step."""


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
    def shadow_refused(self) -> int:
        """Requests that would have been refused if the limit were enforced for their callers."""
        return self.counts.get("shadow_refused", 0)

    @property
    def share(self) -> float:
        """The share of requests that was over the limit."""
        over = self.refused + self.shadow_refused + self.counts.get("told", 0)
        return over / sum(self.counts.values())


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


class EndpointRow(NamedTuple):
    """The requests to an endpoint.

    Attributes:
        endpoint: Its name.
        counts: How many, by outcome.
        refused_by: How many of them each limit refused. Several limits may refuse one request.
    """

    endpoint: str
    counts: Mapping[str, int]
    refused_by: Mapping[str, int]


class SpenderRow(NamedTuple):
    """A caller that a limit charged at an endpoint.

    Attributes:
        endpoint: Its name.
        limit: Its name.
        caller: The caller's keyed digest; empty for all others together.
        at_least: Tokens charged at least.
        at_most: Tokens charged at most.
        share: What it was charged at least, of what all were charged.
    """

    endpoint: str
    limit: str
    caller: str
    at_least: int
    at_most: int
    share: float


@dataclass(frozen=True, slots=True)
class Report:
    """Who is hitting which limit.

    Attributes:
        period: The time that is reported on.
        source: Where the counts are stored.
        requests: Requests decided, by outcome.
        endpoints: The requests to each endpoint, the busiest first.
        limits: The decisions of limits, those that refused most first.
        callers: Who was refused, most first.
        spenders: Who was charged, of each endpoint and limit, most first.
        by_endpoint: Requests to each endpoint over time.
        by_limit: The decisions of each limit over time.
        unreadable: Lines that could not be parsed.
        caller: The one caller that `callers` and `spenders` are about; None for all.
        endpoint: The one endpoint that the report is about; None for all.
        names: User ids of callers that are known, by digest.
    """

    period: TimeRange
    source: str
    requests: Mapping[str, int]
    endpoints: Sequence[EndpointRow]
    limits: Sequence[LimitRow]
    callers: Sequence[CallerRow]
    spenders: Sequence[SpenderRow]
    by_endpoint: Mapping[str, Timeline]
    by_limit: Mapping[str, Timeline]
    unreadable: int
    caller: str | None = None
    endpoint: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def candidates(self) -> list[tuple[LimitRow, LimitRow]]:
        """Each limit that has a candidate, and the candidate, for the same endpoint and tier."""
        rows = {row[:3]: row for row in self.limits}
        pairs = ((rows.get((live_name(row.limit), *row[1:3])), row) for row in self.limits if is_candidate(row.limit))
        return [(live, candidate) for live, candidate in pairs if live is not None]

    def name(self, caller: str) -> str:
        """A caller's user id if it is known, else its digest."""
        return self.names.get(caller, caller)


def time_range(since: int, until: int) -> TimeRange:
    """A range that begins and ends on whole minutes and includes both instants, in few enough steps for a chart."""
    since -= since % MINUTE
    until += -until % MINUTE
    least = (until - since) / MINUTE / _MAX_STEPS
    step = next((step for step in _STEPS if step >= least), ceil(least / _DAY) * _DAY)
    return TimeRange(since, until, MINUTE * step)


def make_report(
    period: TimeRange,
    totals: Totals,
    source: str,
    *,
    most_callers: int,
    caller: str | None = None,
    endpoint: str | None = None,
    names: Mapping[str, str] | None = None,
) -> Report:
    """Make a report.

    Args:
        period: The time to report on.
        totals: What is stored about it.
        source: Where.
        most_callers: Callers to list for each limit.
        caller: List only this one.
        endpoint: Report on this one only. Refused callers are those of its limits, at all endpoints.
        names: User ids of known callers, by digest.
    """
    requests: Counter[str] = Counter()
    endpoints: dict[str, Counter[str]] = {}
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    by_endpoint: dict[str, dict[str, Counter[int]]] = {}
    by_limit: dict[str, dict[str, Counter[int]]] = {}
    refused: Counter[str] = Counter()
    for (step, row), count in totals.decisions.items():
        if row.limit and row.outcome == "refused":
            refused[row.limit] += count
        if endpoint is not None and row.endpoint != endpoint:
            continue
        if not row.limit:
            requests[row.outcome] += count
            endpoints.setdefault(row.endpoint, Counter())[row.outcome] += count
            by_endpoint.setdefault(row.endpoint, {}).setdefault(row.outcome, Counter())[step] += count
            continue
        counts.setdefault((row.limit, row.endpoint, row.tier), Counter())[row.outcome] += count
        by_limit.setdefault(row.limit, {}).setdefault(row.outcome, Counter())[step] += count
    limits = sorted((LimitRow(*key, each) for key, each in counts.items()), key=lambda row: (-row.refused, row[:3]))
    callers = [
        row
        for limit in by_limit
        if refused[limit]
        for row in _callers(limit, refused[limit], totals.hits, most_callers, caller)
    ]
    callers.sort(key=lambda row: (-refused[row.limit], row.limit, not row.caller, -row.at_least, row.caller))
    return Report(
        period,
        source,
        requests,
        _endpoints(endpoints, limits),
        limits,
        callers,
        _spenders(totals, most_callers, caller, endpoint),
        by_endpoint,
        by_limit,
        totals.unreadable,
        caller,
        endpoint,
        names or {},
    )


def _endpoints(counts: Mapping[str, Counter[str]], limits: Iterable[LimitRow]) -> list[EndpointRow]:
    refused_by: dict[str, Counter[str]] = {name: Counter() for name in counts}
    for row in limits:
        if row.refused and row.endpoint in refused_by:
            refused_by[row.endpoint][row.limit] += row.refused
    rows = [EndpointRow(name, each, dict(refused_by[name].most_common())) for name, each in counts.items()]
    return sorted(rows, key=lambda row: (-sum(row.counts.values()), row.endpoint))


def _spenders(totals: Totals, most: int, only: str | None, endpoint: str | None) -> list[SpenderRow]:
    """The callers that were charged most, by endpoint and limit, those that charged most first."""
    pairs: dict[tuple[str, str], Counter[str]] = {}
    for (name, limit, caller), cost in totals.spent.items():
        if endpoint is None or name == endpoint:
            pairs.setdefault((name, limit), Counter())[caller] += cost
    return [
        SpenderRow(*pair, caller, at_least, at_most, at_least / total)
        for pair, costs in sorted(pairs.items(), key=lambda each: (-each[1].total(), each[0]))
        if (total := costs.total())
        for caller, at_least, at_most in _ranges(costs, costs.pop("", 0), total, most, only)
    ]


def _callers(
    limit: str, total: int, hits: Mapping[tuple[str, str], int], most: int, only: str | None
) -> Iterable[CallerRow]:
    """The callers that a limit refused."""
    known = {caller: count for (name, caller), count in hits.items() if name == limit}
    rest = max(0, total - sum(known.values()))
    for caller, at_least, at_most in _ranges(known, rest, total, most, only):
        yield CallerRow(limit, caller, at_least, at_most)


def _ranges(
    known: Mapping[str, int], rest: int, total: int, most: int, only: str | None
) -> Iterable[tuple[str, int, int]]:
    """The callers with the highest counts, and their bounds: `rest`, which nobody is known to have, may be anybody's.

    An empty name stands for all that are not listed.
    """
    ranked = sorted(((count, caller) for caller, count in known.items()), reverse=True)
    for position, (count, caller) in enumerate(ranked):
        if caller == only or (only is None and position < most):
            yield caller, count, min(total, count + rest)
    unlisted = sum(count for count, _ in ranked[most:])
    if only is None and rest + unlisted:
        yield "", unlisted, rest + unlisted
