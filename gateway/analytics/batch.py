"""`Batch`: what one worker counted in one minute, or in part of it. It is written as a whole or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

MINUTE = 60
"""Seconds."""


class Row(NamedTuple):
    """What has a count of its own.

    Attributes:
        endpoint: Its name.
        limit: The limit that decided; empty in the rows that count requests, whatever single limits decided.
        tier: The tier by which the caller was charged; empty for none.
        outcome: ``allowed``, ``refused``, ``shadow_refused`` or ``unavailable``.
    """

    endpoint: str
    limit: str
    tier: str
    outcome: str


class Hit(NamedTuple):
    """How often a limit refused one caller.

    Attributes:
        limit: Its name.
        caller: The caller's keyed digest.
        times: A lower bound, see `gateway.analytics.top_k`.
    """

    limit: str
    caller: str
    times: int


class Spent(NamedTuple):
    """What a limit charged a caller at an endpoint.

    Attributes:
        endpoint: Its name.
        limit: Its name.
        caller: The caller's keyed digest; empty for all others together.
        cost: Tokens. A lower bound, see `gateway.analytics.top_k`; what it misses is among the others.
    """

    endpoint: str
    limit: str
    caller: str
    cost: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written at once.

    Attributes:
        key: Unique, so that a sink can tell when it gets a batch for the second time.
        minute: When it was counted: seconds since 1970, a multiple of 60.
        counts: Decisions.
        hits: The callers that were refused most.
        spent: The callers that were charged most, at each endpoint by each limit.
    """

    key: UUID
    minute: int
    counts: Mapping[Row, int]
    hits: Sequence[Hit]
    spent: Sequence[Spent] = ()

    @property
    def requests(self) -> int:
        """Requests decided."""
        return sum(count for (_, limit, _, _), count in self.counts.items() if not limit)

    @property
    def size(self) -> int:
        """Rows of all kinds."""
        return len(self.counts) + len(self.hits) + len(self.spent)


def minute_of(now: float) -> int:
    """The start of the minute that an instant belongs to; both in seconds since 1970."""
    return int(now // MINUTE) * MINUTE


def format_minute(second: int) -> str:
    """An instant as ``2026-01-31T23:59Z``, for people and in JSON."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%MZ")
