"""Rules, callers and batches for tests of analytics."""

from collections.abc import Iterable
from uuid import uuid4

from gateway.analytics.batch import Batch, Hit, Row, Spent
from gateway.analytics.sink import Sink, TimeRange, Totals
from gateway.limits.caller import Caller
from gateway.limits.endpoint import Endpoint
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import RuleBook, Rules
from tests.kit.identity import make_identity

MINUTE = 1_769_904_000
"""2026-02-01T00:00Z."""

DAY = 86_400
ALWAYS = TimeRange(0, 4_000_000_000 // 60 * 60)

QUOTA = Quota(Rate(1, 1), 1)
EACH = Limit("each", per=("user",), quota=QUOTA, tiers={"gold": QUOTA})
SHADOW = Limit("shadow", per=("endpoint",), quota=QUOTA, enforce=False)


def book(*limits: Limit, endpoints: Iterable[str] = ("orders",)) -> RuleBook:
    return RuleBook(Rules([Endpoint(name) for name in endpoints], limits or (EACH, SHADOW)))


def caller(user: str = "ana", tier: str | None = None) -> Caller:
    return make_identity(hash_key=b"k" * 16).user(user, tier)


def batch(
    count: int = 1,
    *,
    minute: int = MINUTE,
    limit: str = "each",
    hits: Iterable[tuple[str, int]] = (),
    spent: Iterable[tuple[str, int]] = (),
) -> Batch:
    """So many requests, refused by one limit; whom it refused; and whom it charged how much."""
    rows = {Row("orders", "", "", "refused"): count, Row("orders", limit, "", "refused"): count}
    return Batch(
        uuid4(),
        minute,
        rows,
        [Hit(limit, digest, times) for digest, times in hits],
        [Spent("orders", limit, digest, cost) for digest, cost in spent],
    )


async def stored(sink: Sink, period: TimeRange = ALWAYS) -> tuple[int, dict[tuple[str, str], int]]:
    """Requests and callers that are in a sink."""
    totals = await sink.read(period)
    return requests(totals), dict(totals.hits)


def requests(totals: Totals) -> int:
    return sum(count for (_, row), count in totals.decisions.items() if not row.limit)
