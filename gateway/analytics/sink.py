"""`Sink`: the port to where batches are kept, and `Reading`, what comes back from there."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.analytics.batch import MINUTE, Batch, Row


class SinkUnavailableError(Exception):
    """Nothing can be written or read now. The message is for operators, and holds no secret."""


class Span(NamedTuple):
    """A span of time, in steps.

    Attributes:
        since: Seconds since 1970, a multiple of 60.
        until: The first second that does not belong to it; the same.
        step: Seconds; a multiple of 60.
    """

    since: int
    until: int
    step: int = MINUTE

    def start_of(self, minute: int) -> int:
        """When the step begins that a minute belongs to."""
        return self.since + (minute - self.since) // self.step * self.step


@dataclass(slots=True)
class Reading:
    """What is kept about a span.

    Attributes:
        decisions: How often, by the second at which a step begins and what was decided.
        hits: How often a limit refused a caller, at least, by the limit's name and the caller's digest.
        unreadable: Lines or rows that mean nothing.
    """

    decisions: Counter[tuple[int, Row]] = field(default_factory=Counter)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: int = 0


class Sink(Protocol):
    """Where batches are kept. Several workers of several gateways may use it at the same time."""

    async def put(self, batch: Batch) -> None:
        """Write a batch, once, however often it is put.

        Raises:
            ShelfAwayError: it may or may not have been written. Put it again.
        """

    async def read(self, span: Span) -> Reading:
        """What was written about a span by everybody.

        Raises:
            ShelfAwayError: it cannot be read.
        """

    async def close(self) -> None:
        """Let go of what is held, within bounded time."""
