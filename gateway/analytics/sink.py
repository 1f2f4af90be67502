"""`Sink`: the port to where batches are stored; `Totals`: what is read back from there."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gateway.analytics.batch import MINUTE, Batch, Row
from gateway.config.operator_error import OperatorError


class SinkUnavailableError(OperatorError):
    """The sink cannot be written or read now. The message is for operators, and contains no secret."""


class TimeRange(NamedTuple):
    """A range of time, divided into steps.

    Attributes:
        since: Seconds since 1970, a multiple of 60.
        until: The first second after it; as above.
        step: Seconds; a multiple of 60.
    """

    since: int
    until: int
    step: int = MINUTE

    def step_of(self, minute: int) -> int:
        """The start of the step that a minute belongs to."""
        return self.since + (minute - self.since) // self.step * self.step


@dataclass(slots=True)
class Totals:
    """What is stored about a range of time.

    Attributes:
        decisions: How often, by the start of the step and what was decided.
        hits: How often a limit refused a caller, at least, by the limit's name and the caller's digest.
        spent: What a limit charged a caller, at least, by the names of endpoint and limit, and the caller's digest;
            that is empty for all others.
        unreadable: Lines that could not be parsed.
    """

    decisions: Counter[tuple[int, Row]] = field(default_factory=Counter)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    spent: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    unreadable: int = 0


class Sink(Protocol):
    """Where batches are stored: `FileSink` or `PostgresSink`. Workers of several gateways may use it at once."""

    async def put(self, batch: Batch) -> None:
        """Write a batch. It is stored once, however often it is put.

        Raises:
            SinkUnavailableError: it may or may not have been written. Put it again.
        """

    async def read(self, period: TimeRange) -> Totals:
        """What all workers have written about a range of time.

        Raises:
            SinkUnavailableError: it cannot be read.
        """

    async def close(self) -> None:
        """Release what is held, within bounded time."""
