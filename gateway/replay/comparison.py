"""`compare`: plays logged requests by two sets of rules, and counts what becomes of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.analytics.top_k import TopK
from gateway.limits.rate import MICROSECONDS
from gateway.replay.distinct import Distinct
from gateway.replay.order import Timed
from gateway.replay.play import Play
from gateway.replay.timeline import Timeline

_CALLERS = 20_000
"""Pairs of a limit and a caller that it refuses newly: so many are counted exactly, and more within bounds."""


@dataclass(slots=True)
class LimitCount:
    """What becomes of requests because of one limit.

    Attributes:
        before: Requests that it refuses by the rules to compare with.
        after: Requests that it refuses by the new rules.
        newly: Of these, the ones that pass by the rules to compare with.
        told_before: Requests of which it tells the upstream by the rules to compare with.
        told: Requests of which it tells the upstream by the new rules.
        callers: Who sent those.
    """

    before: int = 0
    after: int = 0
    newly: int = 0
    told_before: int = 0
    told: int = 0
    callers: Distinct = field(default_factory=Distinct)


@dataclass(slots=True)
class Comparison:
    """What becomes of requests by two sets of rules.

    Attributes:
        requests: Requests decided.
        callers: Who sent them.
        unserved: Requests that the gateway would not serve by one of the rules, so that no limit counts them; they are
            not in `requests`.
        refused_then: Requests that got a 429 when they were made.
        late: Requests that stand too late in the log, and were played at the time of one before them.
        before: Requests that are refused by the rules to compare with.
        after: Requests that are refused by the new rules.
        newly: Requests that are refused by the new rules only.
        no_longer: Requests that are refused by the rules to compare with only.
        newly_refused: Who sent those that are newly refused.
        limits: By the names of limits.
        top: Who is newly refused: the limit, and the caller's name.
        refused_before: Refusals over time by the rules to compare with, by limit.
        refused_after: Refusals over time by the new rules, by limit.
    """

    requests: int = 0
    callers: Distinct = field(default_factory=Distinct)
    unserved: int = 0
    refused_then: int = 0
    late: int = 0
    before: int = 0
    after: int = 0
    newly: int = 0
    no_longer: int = 0
    newly_refused: Distinct = field(default_factory=Distinct)
    limits: dict[str, LimitCount] = field(default_factory=dict)
    top: TopK[tuple[str, str]] = field(default_factory=lambda: TopK(_CALLERS))
    refused_before: Timeline = field(default_factory=Timeline)
    refused_after: Timeline = field(default_factory=Timeline)

    @property
    def share(self) -> float:
        """The share of requests that is newly refused, 0 to 1."""
        return self.newly / self.requests if self.requests else 0.0

    def count(self, second: int, digest: bytes, name: str, before: Sequence[str], after: Sequence[str]) -> None:
        """Count a decision.

        Args:
            second: When it was, since 1970.
            digest: Of the caller.
            name: Of the caller.
            before: The limits that refuse the request by the rules to compare with.
            after: The limits that refuse it by the new rules.
        """
        self.requests += 1
        self.callers.add(digest)
        self.refused_before.extend(second)
        self.refused_after.extend(second)
        if before:
            self.before += 1
            for limit in before:
                self._limit(limit).before += 1
                self.refused_before.count(limit, second)
        if after:
            self.after += 1
            for limit in after:
                self._limit(limit).after += 1
                self.refused_after.count(limit, second)
        if before and not after:
            self.no_longer += 1
        elif after and not before:
            self._newly(digest, name, after)

    def count_told(self, before: Sequence[str], after: Sequence[str]) -> None:
        """Count a request that passes: the limits of which the upstream is told by each of the rules."""
        for limit in before:
            self._limit(limit).told_before += 1
        for limit in after:
            self._limit(limit).told += 1

    def _newly(self, digest: bytes, name: str, limits: Sequence[str]) -> None:
        self.newly += 1
        self.newly_refused.add(digest)
        for limit in limits:
            count = self._limit(limit)
            count.newly += 1
            count.callers.add(digest)
            self.top.add((limit, name))

    def _limit(self, name: str) -> LimitCount:
        found = self.limits.get(name)
        if found is None:
            found = self.limits[name] = LimitCount()
        return found


def compare(requests: Iterable[Timed], before: Play, after: Play) -> Comparison:
    """Play requests by two sets of rules.

    Args:
        requests: In the order in which they are decided, nearly; the clock never goes back.
        before: The rules to compare with.
        after: The new rules.
    """
    result = Comparison()
    now = 0
    for time, request in requests:
        if time < now:
            result.late += 1
        else:
            now = time
        result.refused_then += request.refused
        was, becomes = before.decide(request, now), after.decide(request, now)
        if was is None or becomes is None:
            result.unserved += 1
        else:
            refusing_before, refusing = was.refusing, becomes.refusing
            result.count(now // MICROSECONDS, request.caller.digest, request.name, refusing_before, refusing)
            result.count_told([] if refusing_before else was.told, [] if refusing else becomes.told)
    return result
