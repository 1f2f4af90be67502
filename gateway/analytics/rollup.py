"""`Rollup`: counts one worker's decisions of the current minute. A decision costs a few look-ups, and no clock.

Equal decisions, and most are, belong to one `DecisionGroup`, which has their rows and a count. Rows are added up when
the minute is over. All names come from the configuration, so there are few groups; their number is still bounded.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from gateway.analytics.batch import Batch, Hit, Row, minute_of
from gateway.analytics.spending import Account, Spending
from gateway.analytics.top_k import TopK
from gateway.limits.caller import Caller
from gateway.limits.charge import Charge, Demand
from gateway.limits.compiled_limit import digest_in
from gateway.limits.limit import Limit, is_candidate
from gateway.limits.rules import RuleBook

NONE: Final = ""
"""No tier."""

OTHER: Final = "(other)"
"""A tier that no limit names: whatever a token or header calls it, the caller is charged as without a tier."""


class Tiers:
    """The tiers that some limits name.

    Args:
        limits: All active limits.
    """

    __slots__ = ("_known",)

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._known = frozenset(name for limit in limits for name in limit.tiers)

    def name(self, tier: str | None) -> str:
        """The name under which a tier is counted: its own if a limit names it, `NONE` or `OTHER`."""
        if not tier:
            return NONE
        return tier if tier in self._known else OTHER


MORE: Final = "(more)"
"""Stands for the endpoint and the limits of decisions beyond the most groups. Their callers are not counted."""

_MAX_GROUPS: Final = 10_000
_CALLER_COUNTERS: Final = 1_000
"""Counters of refused callers. Up to so many callers in a minute are counted exactly; for more see `top_k`."""


@dataclass(slots=True)
class DecisionGroup:
    """Decisions that are equal.

    Attributes:
        rows: The rows that count them.
        refused_by: The limits that refused them, and the positions of their demands.
        account: What they were charged to; None if nothing was charged.
        priced: The position of a demand that was charged, of which all have the same cost.
        times: How many there were.
    """

    rows: Sequence[Row]
    refused_by: Sequence[tuple[str, int]]
    account: Account | None
    priced: int = 0
    times: int = 0


class Rollup:
    """Counts decisions. For the event loop's thread only.

    Args:
        book: The active rules.
        now: The time, in seconds since 1970.
        top_callers: How many of the callers that were refused most, and of those that each endpoint's limits charged
            most, go into a batch.
        most_groups: Groups at a time. Decisions beyond that are counted under the name `MORE`.
    """

    __slots__ = (
        "_accounts",
        "_book",
        "_callers",
        "_counts",
        "_groups",
        "_limits",
        "_minute",
        "_most_groups",
        "_spending",
        "_tiers",
        "_top_callers",
    )

    def __init__(self, book: RuleBook, now: float, *, top_callers: int, most_groups: int = _MAX_GROUPS) -> None:
        self._book = book
        self._tiers = Tiers()
        self._top_callers = top_callers
        self._most_groups = most_groups
        self._limits: tuple[Limit, ...] = ()
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._minute = minute_of(now)
        self._groups: dict[object, DecisionGroup] = {}
        self._counts: Counter[Row] = Counter()
        self._callers: TopK[tuple[str, bytes]] = TopK(_CALLER_COUNTERS)
        self._spending = Spending()
        self._accounts: dict[tuple[str, ...], Account] = {}

    def count(
        self, endpoint: str, caller: Caller, demands: Sequence[Demand], outcome: str, refused: tuple[int, ...]
    ) -> None:
        """Count a decision.

        Args:
            endpoint: Its name.
            caller: Who sent the request.
            demands: What was asked of the buckets; all of the same cost.
            outcome: ``allowed``, ``refused`` or ``unavailable``.
            refused: Positions of the demands that were refused.
        """
        rules = self._book.current
        if rules.limits is not self._limits:
            self._limits = rules.limits
            self._fold()  # a limit's name may mean something else now
            self._tiers = Tiers(rules.limits)
        tier = self._tiers.name(rules.tier_of(endpoint, caller)) if caller.tier or rules.has_overrides else ""
        key: tuple[object, ...] = (endpoint, tier, outcome, refused, *[demand.charge.limit for demand in demands])
        if refused:  # a limit may refuse some callers, and only count the others
            key += (*[demands[position].charge.over for position in refused],)
        group = self._groups.get(key)
        if group is None:
            group = self._add_group(key, endpoint, tier, outcome, demands, refused)
        group.times += 1
        account = group.account
        if account is not None:
            cost = demands[group.priced].charge.cost
            if cost:
                self._spending.charge(account, caller.digest, cost)
        elif group.refused_by:
            for limit, position in group.refused_by:
                self._callers.add((limit, digest_in(demands[position].key) or caller.digest))

    def count_cost(
        self, endpoint: str, caller: Caller, demands: Sequence[Demand], refused: tuple[int, ...], cost: int
    ) -> None:
        """Count what a request has cost that was counted when it was decided on, without its cost.

        Args:
            endpoint: Its name.
            caller: Who sent it.
            demands: What was asked of the buckets.
            refused: Positions of the demands that were not charged.
            cost: Tokens.
        """
        charged = [position for position in range(len(demands)) if position not in refused]
        account = self._account(endpoint, [demands[position].charge.limit for position in _priced(demands, charged)])
        if account is not None and cost:
            self._spending.charge(account, caller.digest, cost)

    def _add_group(
        self, key: object, endpoint: str, tier: str, outcome: str, demands: Sequence[Demand], refused: tuple[int, ...]
    ) -> DecisionGroup:
        by_limit = [
            (demand.charge.limit, _limit_outcome(demand.charge, outcome, is_refused=position in refused))
            for position, demand in enumerate(demands)
        ]
        refused_by = [(limit, position) for position, (limit, each) in enumerate(by_limit) if each == "refused"]
        if len(self._groups) >= self._most_groups:
            key = (MORE, outcome, *(each for _, each in by_limit))
            if key in self._groups:
                return self._groups[key]
            endpoint, tier, refused_by, by_limit = MORE, "", [], [(MORE, each) for _, each in by_limit]
        paying = enumerate(by_limit if outcome == "allowed" and endpoint != MORE else ())
        priced = _priced(demands, [position for position, (_, each) in paying if each == "allowed"])
        charged = [demands[position].charge.limit for position in priced]
        rows = [Row(endpoint, "", tier, outcome), *(Row(endpoint, limit, tier, each) for limit, each in by_limit)]
        is_measured = self._book.current.is_measured(endpoint)  # what it costs is counted when it has ended
        account = None if is_measured else self._account(endpoint, charged)
        group = self._groups[key] = DecisionGroup(rows, refused_by, account, priced[0] if priced else 0)
        return group

    def _account(self, endpoint: str, limits: Sequence[str]) -> Account | None:
        """Groups that differ only by tier, or by limits that did not charge, have one account."""
        if not limits or endpoint == MORE:
            return None
        return self._accounts.setdefault((endpoint, *limits), Account(endpoint, limits))

    def _fold(self) -> None:
        """Add up the rows of all groups, and drop the groups."""
        for group in self._groups.values():
            for row in group.rows:
                self._counts[row] += group.times
        self._groups = {}

    def is_due(self, now: float) -> bool:
        """Whether the minute is over. A clock that was set back ends it, too."""
        return minute_of(now) != self._minute

    def cut(self, now: float) -> Batch | None:
        """Return what was counted, and start again from zero; None if nothing was counted.

        The batch belongs to the minute in which counting began.
        """
        self._fold()
        counts, callers, minute = self._counts, self._callers, self._minute
        spent = self._spending.rows(self._accounts.values(), self._top_callers) if counts else []
        self._begin(now)
        if not counts:
            return None
        hits = [Hit(limit, digest.decode(), times) for (limit, digest), times in callers.top(self._top_callers)]
        return Batch(uuid4(), minute, counts, hits, spent)


def _priced(demands: Sequence[Demand], charged: Sequence[int]) -> list[int]:
    """The positions of demands that were charged the request's cost: no candidates, and no requests at once."""
    return [
        position
        for position in charged
        if not is_candidate(demands[position].charge.limit) and not demands[position].charge.quota.at_once
    ]


def _limit_outcome(charge: Charge, outcome: str, *, is_refused: bool) -> str:
    """What one limit decided."""
    if is_refused:
        return charge.over
    return "unavailable" if outcome == "unavailable" else "allowed"
