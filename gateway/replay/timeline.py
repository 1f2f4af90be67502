"""`Timeline`: counts by name over time, in steps that grow with the time that they span, so that memory does not."""

from collections import Counter
from collections.abc import Mapping

from gateway.analytics.batch import MINUTE
from gateway.analytics.report import time_range
from gateway.analytics.sink import TimeRange

_WIDTHS = ((1, 480), (5, 2_400), (30, 24_000), (240, 96_000))
"""Minutes in a step, and the longest span that has such steps: each divides all steps of a chart of longer spans."""

_DAY = 1_440


class Timeline:
    """Counts.

    Attributes:
        first: The first second that was counted.
        last: The last one.
    """

    __slots__ = ("_counts", "_width", "first", "last")

    def __init__(self) -> None:
        self._counts: dict[str, Counter[int]] = {}
        self._width = MINUTE
        self.first = self.last = 0

    def extend(self, second: int) -> None:
        """Include an instant in the span."""
        if not self.last:
            self.first = self.last = second
        elif not self.first <= second <= self.last:
            self.first, self.last = min(self.first, second), max(self.last, second)
            width = _width(self.last - self.first)
            if width != self._width:
                self._widen(width)

    def count(self, name: str, second: int) -> None:
        """Count one at an instant, which is within the span."""
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = Counter()
        counts[second - second % self._width] += 1

    @property
    def period(self) -> TimeRange:
        """The span, in few enough steps for a chart."""
        step = time_range(self.first, self.last + 1).step
        return TimeRange(self.first - self.first % step, self.last + 1 + -(self.last + 1) % step, step)

    def steps(self) -> Mapping[str, Mapping[int, int]]:
        """The counts of each name, by the start of the step of `period`."""
        period = self.period
        steps: dict[str, Counter[int]] = {}
        for name, counts in self._counts.items():
            for start, count in counts.items():
                steps.setdefault(name, Counter())[period.step_of(start)] += count
        return steps

    def _widen(self, width: int) -> None:
        self._width = width
        for name, counts in self._counts.items():
            wider: Counter[int] = Counter()
            for start, count in counts.items():
                wider[start - start % width] += count
            self._counts[name] = wider


def _width(span: int) -> int:
    """Seconds in a step of a span of so many seconds."""
    return MINUTE * next((width for width, longest in _WIDTHS if span <= longest * MINUTE), _DAY)
