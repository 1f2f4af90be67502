"""`Report`: who is hitting which limit, in numbers. Made of what was read; says nothing of how it is shown."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from gateway.analytics.batch import MINUTE
from gateway.analytics.sink import Reading, Span

OUTCOMES = ("allowed", "refused", "shadow_refused", "unavailable")
_MOST_STEPS = 120
"""In so many steps a span is drawn at most."""

_DAY = 24 * 60
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, _DAY)
"""Minutes that a step may have: those people count in. Longer ones have whole days."""


class Told(NamedTuple):
    """What a limit said, at an endpoint, to callers of a tier.

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
        """Refused."""
        return self.counts.get("refused", 0)

    @property
    def share(self) -> float:
        """The part that was refused, or would have been."""
        return (self.refused + self.counts.get("shadow_refused", 0)) / sum(self.counts.values())


class Refused(NamedTuple):
    """A caller that a limit refused.

    Attributes:
        limit: Its name.
        caller: The caller's keyed digest; empty for all others together.
        least: How often at least.
        most: How often at most.
    """

    limit: str
    caller: str
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Report:
    """Who is hitting which limit.

    Attributes:
        span: When.
        source: Where that is kept.
        requests: Requests decided, by outcome.
        limits: What limits said, those first that refused most.
        callers: Who was refused, most first.
        course: Refusals by the limit's name, and then by the second at which a step begins.
        unreadable: Lines that mean nothing.
        caller: The one caller that `callers` is about; None for all.
    """

    span: Span
    source: str
    requests: Mapping[str, int]
    limits: Sequence[Told]
    callers: Sequence[Refused]
    course: Mapping[str, Mapping[int, int]]
    unreadable: int
    caller: str | None = None

    @property
    def refusing(self) -> Sequence[Told]:
        """What refused anything, or would have."""
        return [told for told in self.limits if told.share]


def steps_of(since: int, until: int) -> Span:
    """A span in so few steps that they can be drawn; its ends on whole minutes, with all of the last one."""
    since -= since % MINUTE
    until += -until % MINUTE
    least = (until - since) / MINUTE / _MOST_STEPS
    step = next((step for step in _STEPS if step >= least), ceil(least / _DAY) * _DAY)
    return Span(since, until, MINUTE * step)


def report_of(span: Span, reading: Reading, source: str, *, most_callers: int, caller: str | None = None) -> Report:
    """A report of what was read.

    Args:
        span: When.
        reading: What is kept about that.
        source: Where.
        most_callers: So many callers of each limit are told.
        caller: Only this one.
    """
    requests: Counter[str] = Counter()
    said: dict[tuple[str, str, str], Counter[str]] = {}
    course: dict[str, Counter[int]] = {}
    for (step, row), count in reading.decisions.items():
        if not row.limit:
            requests[row.outcome] += count
            continue
        said.setdefault((row.limit, row.endpoint, row.tier), Counter())[row.outcome] += count
        if row.outcome == "refused":
            course.setdefault(row.limit, Counter())[step] += count
    limits = sorted((Told(*key, counts) for key, counts in said.items()), key=lambda told: (-told.refused, told[:3]))
    totals = {limit: steps.total() for limit, steps in course.items()}
    callers = [told for limit in totals for told in _callers(limit, totals[limit], reading.hits, most_callers, caller)]
    callers.sort(key=lambda told: (-totals[told.limit], told.limit, not told.caller, -told.least, told.caller))
    return Report(span, source, requests, limits, callers, course, reading.unreadable, caller)


def _callers(
    limit: str, total: int, hits: Mapping[tuple[str, str], int], most: int, only: str | None
) -> Iterable[Refused]:
    """Whom a limit refused. What is not known to be anybody's may be anybody's."""
    known = sorted(((count, caller) for (name, caller), count in hits.items() if name == limit), reverse=True)
    rest = max(0, total - sum(count for count, _ in known))
    for place, (count, caller) in enumerate(known):
        if caller == only or (only is None and place < most):
            yield Refused(limit, caller, count, min(total, count + rest))
    untold = sum(count for count, _ in known[most:])
    if only is None and rest + untold:
        yield Refused(limit, "", untold, rest + untold)
