"""`Batch`: what one worker counted of one minute, or of a part of it. It is written as a whole or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

MINUTE = 60
"""Seconds."""


class Row(NamedTuple):
    """What is counted by itself.

    Attributes:
        endpoint: Its name.
        limit: The limit that said so; empty in the row that counts requests, whatever single limits said.
        tier: The tier the caller was charged by; empty for none.
        outcome: ``allowed``, ``refused``, ``shadow_refused`` or ``unavailable``.
    """

    endpoint: str
    limit: str
    tier: str
    outcome: str


class Hit(NamedTuple):
    """How often a limit refused one caller, at least.

    Attributes:
        limit: Its name.
        caller: The caller's keyed digest.
        times: See `gateway.analytics.top_k`.
    """

    limit: str
    caller: str
    times: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is written at once.

    Attributes:
        key: Its own, so that whoever is handed it twice can tell.
        minute: When it was counted: seconds since 1970, a multiple of 60.
        counts: Decisions.
        hits: The callers that were refused most.
    """

    key: UUID
    minute: int
    counts: Mapping[Row, int]
    hits: Sequence[Hit]

    @property
    def requests(self) -> int:
        """Requests decided."""
        return sum(count for (_, limit, _, _), count in self.counts.items() if not limit)

    @property
    def size(self) -> int:
        """Rows, of both kinds."""
        return len(self.counts) + len(self.hits)


def minute_of(now: float) -> int:
    """The minute that an instant belongs to."""
    return int(now // MINUTE) * MINUTE


def written(second: int) -> str:
    """An instant as people and JSON have it: ``2026-01-31T23:59Z``."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%MZ")
