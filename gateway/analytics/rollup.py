"""`Rollup`: what one worker counts of the minute under way. A decision costs it one look-up and no look at a clock.

Decisions that are alike, and most are, share a `Kind`: it knows the rows they belong to, and counts. Rows are added up
when the minute is over. All names come from the configuration, so there are so many kinds and no more; how many there
may be is bounded here all the same.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from gateway.analytics.batch import Batch, Hit, Row, minute_of
from gateway.analytics.tiers import Tiers
from gateway.analytics.top_k import TopK
from gateway.limits.bucket import Charge, Demand
from gateway.limits.identity import Caller
from gateway.limits.limit import Limit
from gateway.limits.rules import RuleBook

MORE = "(more)"
"""Stands for the endpoint and the limits of decisions for which there is no room. Their callers are not noted."""

_MOST_KINDS = 10_000
_COUNTERS = 1_000
"""Of refused callers. Up to so many in a minute are counted exactly, beyond see `sketch`."""


@dataclass(slots=True)
class Kind:
    """Decisions that are alike.

    Attributes:
        rows: What they belong to.
        refusing: The limits that refuse them.
        times: How many there were.
    """

    rows: Sequence[Row]
    refusing: Sequence[str]
    times: int = 0


class Rollup:
    """Counts decisions. For the event loop's thread alone.

    Args:
        book: The rules in force.
        now: The time, in seconds since 1970.
        top_callers: How many of the callers that were refused most go into a batch.
        most_kinds: Kinds at a time. What comes beyond is added up under the name `MORE`.
    """

    __slots__ = (
        "_book",
        "_callers",
        "_counts",
        "_kinds",
        "_limits",
        "_minute",
        "_most_kinds",
        "_tiers",
        "_top_callers",
    )

    def __init__(self, book: RuleBook, now: float, *, top_callers: int, most_kinds: int = _MOST_KINDS) -> None:
        self._book = book
        self._tiers = Tiers()
        self._top_callers = top_callers
        self._most_kinds = most_kinds
        self._limits: tuple[Limit, ...] = ()
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._minute = minute_of(now)
        self._kinds: dict[object, Kind] = {}
        self._counts: Counter[Row] = Counter()
        self._callers: TopK[tuple[str, bytes]] = TopK(_COUNTERS)

    def count(
        self, endpoint: str, caller: Caller, demands: Sequence[Demand], outcome: str, refused: tuple[int, ...]
    ) -> None:
        """Count a decision.

        Args:
            endpoint: Its name.
            caller: Whose it is.
            demands: What was asked of the buckets.
            outcome: ``allowed``, ``refused`` or ``unavailable``.
            refused: Positions of the demands that could not be paid.
        """
        rules = self._book.current
        if rules.limits is not self._limits:
            self._limits = rules.limits
            self._fold()  # what a limit is called may mean something else now
            self._tiers = Tiers(rules.limits)
        tier = self._tiers.of(endpoint, caller, rules.overrides) if caller.tier or rules.overrides else ""
        alike = (endpoint, tier, outcome, refused, *[charge.limit for _, charge in demands])
        kind = self._kinds.get(alike)
        if kind is None:
            kind = self._kind(alike, endpoint, tier, outcome, demands, refused)
        kind.times += 1
        if kind.refusing:
            for limit in kind.refusing:
                self._callers.add((limit, caller.digest))

    def _kind(
        self, alike: object, endpoint: str, tier: str, outcome: str, demands: Sequence[Demand], refused: tuple[int, ...]
    ) -> Kind:
        """A kind that was not there yet."""
        said = [
            (charge.limit, _said(charge, outcome, is_over=place in refused))
            for place, (_, charge) in enumerate(demands)
        ]
        refusing = [limit for limit, word in said if word == "refused"]
        if len(self._kinds) >= self._most_kinds:
            alike = (MORE, outcome, *(word for _, word in said))
            if alike in self._kinds:
                return self._kinds[alike]
            endpoint, tier, refusing, said = MORE, "", [], [(MORE, word) for _, word in said]
        rows = [Row(endpoint, "", tier, outcome), *(Row(endpoint, limit, tier, word) for limit, word in said)]
        made = self._kinds[alike] = Kind(rows, refusing)
        return made

    def _fold(self) -> None:
        """Add up the rows of all kinds, and forget the kinds."""
        for kind in self._kinds.values():
            for row in kind.rows:
                self._counts[row] += kind.times
        self._kinds = {}

    def is_due(self, now: float) -> bool:
        """Whether a minute is over. A clock that was set back ends one, too."""
        return minute_of(now) != self._minute

    def cut(self, now: float) -> Batch | None:
        """Hand over what was counted, and begin anew; None when that is nothing.

        What it hands over belongs to the minute in which it was begun.
        """
        self._fold()
        counts, callers, minute = self._counts, self._callers, self._minute
        self._begin(now)
        if not counts:
            return None
        hits = [Hit(limit, digest.decode(), times) for (limit, digest), times in callers.top(self._top_callers)]
        return Batch(uuid4(), minute, counts, hits)


def _said(charge: Charge, outcome: str, *, is_over: bool) -> str:
    """What a limit said."""
    if is_over:
        return "refused" if charge.enforced else "shadow_refused"
    return "unavailable" if outcome == "unavailable" else "allowed"
