"""`Play`: decides on logged requests by one set of rules, on a virtual clock, with buckets of its own.

A request takes the way that it takes in the gateway: `Rules.match` finds the endpoint, `Rules.demands` the buckets, and
`gateway.limits.bucket.take` decides.
"""

from functools import lru_cache

from gateway.limiter.buckets import BucketTable
from gateway.limiter.verdict import OverLimits
from gateway.limits.condition import NO_FIELDS, GivenFields
from gateway.limits.endpoint import Endpoint
from gateway.limits.in_flight import without_slots
from gateway.limits.rules import Rules
from gateway.limits.unmatched import Unmatched
from gateway.replay.request import LoggedRequest, RequestLine

MAX_BUCKETS = 200_000
"""Buckets of each set of rules."""

NONE = OverLimits((), ())
"""Of a request that is over no limit."""

_REMEMBERED = 50_000
"""Requests whose endpoint is remembered."""


class Play:
    """One set of rules at work.

    Args:
        rules: The rules. A limit that refuses a share of callers refuses those whose digests say so, as in the gateway.
        max_buckets: Buckets kept, see `BucketTable`.

    Attributes:
        now: The time, in microseconds since 1970.
        unknown: Names of endpoints that occur in a log and are not among the rules'. Their requests go to the default
            endpoint.
    """

    __slots__ = ("_buckets", "_endpoint", "_rules", "now", "unknown")

    def __init__(self, rules: Rules, max_buckets: int = MAX_BUCKETS) -> None:
        self._rules = rules
        self._buckets = BucketTable(max_buckets, lambda: self.now)
        self._endpoint = lru_cache(maxsize=_REMEMBERED)(self._find)
        self.now = 0
        self.unknown: set[str] = set()

    def decide(self, request: LoggedRequest, now: int) -> OverLimits | None:
        """The limits that a request is over; None if the gateway would not serve it.

        Args:
            request: Whose subject is known.
            now: When it is decided, in microseconds since 1970; not before an earlier request.
        """
        self.now = now
        if request.subject is None or (endpoint := self._endpoint(request.subject)) is None:
            return None
        if self._rules.changes_at is not None and now >= self._rules.changes_at:
            self._rules = self._rules.at(now)
        demands = without_slots(self._rules.demands(endpoint, request.caller))
        if not demands:
            return NONE
        refused = self._buckets.take(demands, now).refused
        return OverLimits(demands, refused) if refused else NONE

    @property
    def evicted(self) -> int:
        """Buckets dropped for want of room before they were full: what they would have refused was allowed."""
        return self._buckets.evicted

    def _find(self, subject: RequestLine | str) -> Endpoint | None:
        if isinstance(subject, RequestLine):
            method, host, path, query = subject
            match = self._rules.match(method, host, path, GivenFields(query=query) if query else NO_FIELDS)
            return None if isinstance(match, Unmatched) else match
        found = self._rules.endpoints.get(subject)
        if found is None and len(self.unknown) < _REMEMBERED:
            self.unknown.add(subject)
        return found or self._rules.default
