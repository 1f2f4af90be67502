"""`Series`: one worker's series of metrics, each a few cells in shared memory."""

import math
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from gateway.telemetry import definitions
from gateway.telemetry.definitions import MetricDefinition, MetricType
from gateway.telemetry.shared_memory import SeriesKey, SharedCounters


class Series:
    """Creates and sets one worker's series.

    Args:
        counters: Where they are kept.
    """

    def __init__(self, counters: SharedCounters) -> None:
        self._counters = counters
        self._cells = counters.cells

    def cell(self, metric: MetricDefinition, *labels: str, width: int = 1) -> int:
        """The first of a series' cells. A new series starts at zero."""
        return self._counters.cell(SeriesKey(metric.name, labels), width)

    def count(self, metric: MetricDefinition, *labels: str) -> None:
        """Add one."""
        self._cells[self.cell(metric, *labels)] += 1.0

    def set(self, metric: MetricDefinition, value: float, *labels: str) -> None:
        """Set the value of a gauge."""
        self._cells[self.cell(metric, *labels)] = value

    def histogram(self, metric: MetricDefinition, *labels: str) -> "Histogram":
        """What records values in a histogram: a cell for each bucket, one for infinity, one for the sum."""
        return Histogram(self._cells, self.cell(metric, *labels, width=len(metric.bounds) + 2), metric.bounds)

    def show_only(self, metric: MetricDefinition, values: Mapping[tuple[str, ...], float]) -> None:
        """Set these series of a gauge, by their labels, and hide its others. A scrape meanwhile misses none of them."""
        for labels, value in values.items():
            self.set(metric, value, *labels)
        for key, cells in self._counters.series().items():
            if key.metric == metric.name and key.labels not in values:
                self._cells[cells.start] = math.nan

    def clear_gauges(self) -> None:
        """Hide the gauges of the previous worker; what it counted stays."""
        self._counters.heartbeat = 0.0
        self._counters.started = time.monotonic()
        for key, cells in self._counters.series().items():
            if definitions.BY_NAME[key.metric].type is MetricType.GAUGE:
                self._cells[cells.start] = math.nan


class Histogram:
    """Records values.

    Args:
        cells: One for each bucket, one for infinity, one for the sum, and those of others.
        first: The index of the first one.
        bounds: Of the buckets.
    """

    __slots__ = ("_bounds", "_cells", "_first", "_sum")

    def __init__(self, cells: "memoryview[float]", first: int, bounds: Sequence[float]) -> None:
        self._cells = cells
        self._bounds = bounds
        self._first = first
        self._sum = first + len(bounds) + 1

    def record(self, value: float) -> None:
        """Add a value."""
        self._cells[self._first + bisect_left(self._bounds, value)] += 1.0
        self._cells[self._sum] += value
