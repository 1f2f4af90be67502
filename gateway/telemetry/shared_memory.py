"""`SharedCounters`: one worker's metrics, in memory that all workers of a gateway share.

The supervisor makes two sets for each worker before it forks: in a rolling restart a worker counts in one while its
successor counts in the other. The memory is an unnamed file: it needs no folder, is freed when the gateway exits, and
is handed over as a file descriptor. A worker writes to its own counters only, so there is no lock; any worker reads
those of all, so each of them can serve the metrics of the whole gateway. When a worker dies, even by SIGKILL, its
numbers stay, and its successor continues from them: no counter ever decreases.

All numbers are doubles, as in Prometheus itself: counts are exact below 2**53. Aligned doubles are read and written
atomically on every platform we know, so no half-written number is ever read.

    cells:  [ bytes of names | heartbeat | lost series | started | a | b | b | b | ... ]
    names:  ["a", ["label"], 1] newline ["b", [], 3] newline ...

A line of names is written before its length is added to the first cell, so no half-written line is ever read either.
"""

import json
import mmap
import os
from collections.abc import Mapping
from tempfile import TemporaryFile
from typing import Final, NamedTuple

FORMAT: Final = 1
"""Of the memory. To be increased when programs of the old and the new format cannot read each other's."""

_NAMES, _HEARTBEAT, _LOST_SERIES, _STARTED = range(4)
_SPILL: Final = 4
WIDEST: Final = 40
"""Cells of a series at most."""

_FIRST: Final = _SPILL + WIDEST
_CELLS: Final = 1 << 16
_SIZE: Final = 1 << 23
"""Bytes in all. Pages that were never written to take no memory."""


class SeriesKey(NamedTuple):
    """A series: the name of its metric, and the values of its labels."""

    metric: str
    labels: tuple[str, ...] = ()


class CellRange(NamedTuple):
    """Where a series is stored: its first cell, and how many it has."""

    start: int
    width: int


def _unnamed_file() -> int:
    """A descriptor of an unnamed file, in memory where the system supports that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gateway-metrics")
    with TemporaryFile() as file:
        return os.dup(file.fileno())


class SharedCounters:
    """The numbers of one worker.

    Args:
        descriptor: Of existing memory, to continue its counters; None for new memory.

    Attributes:
        cells: The numbers; `cell` returns the index of each.
        descriptor: Of the memory.
    """

    __slots__ = ("_names", "_read", "_series", "_used", "cells", "descriptor")

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _unnamed_file() if descriptor is None else descriptor
        os.ftruncate(self.descriptor, _SIZE)
        memory = memoryview(mmap.mmap(self.descriptor, _SIZE))
        self.cells: memoryview[float] = memory[: 8 * _CELLS].cast("d")
        self._names = memory[8 * _CELLS :]
        self._series: dict[SeriesKey, CellRange] = {}
        self._read = 0
        self._used = _FIRST

    @property
    def heartbeat(self) -> float:
        """When the worker was last known to be alive, in seconds of the monotonic clock; 0 when it has exited."""
        return self.cells[_HEARTBEAT]

    @heartbeat.setter
    def heartbeat(self, now: float) -> None:
        self.cells[_HEARTBEAT] = now

    @property
    def started(self) -> float:
        """When the worker started to count here, by the same clock."""
        return self.cells[_STARTED]

    @started.setter
    def started(self, now: float) -> None:
        self.cells[_STARTED] = now

    @property
    def lost_series(self) -> float:
        """Series for which there was no room, and which are not counted."""
        return self.cells[_LOST_SERIES]

    def cell(self, key: SeriesKey, width: int = 1) -> int:
        """The index of a series' first cell. A new series starts at zero.

        If there is no room left, the index is that of spare cells that are never read.
        """
        found = self.series().get(key)
        if found is not None:
            return found.start
        line = json.dumps([key.metric, key.labels, width]).encode() + b"\n"
        end = self._read + len(line)
        if self._used + width > _CELLS or end > len(self._names):
            self.cells[_LOST_SERIES] += 1
            return _SPILL
        self._names[self._read : end] = line
        self.cells[_NAMES] = end
        return self.series()[key].start

    def series(self) -> Mapping[SeriesKey, CellRange]:
        """Where each series is stored, including those that other processes added."""
        end = int(self.cells[_NAMES])
        if end > self._read:
            for line in bytes(self._names[self._read : end]).splitlines():
                metric, labels, width = json.loads(line)
                self._series[SeriesKey(metric, tuple(labels))] = CellRange(self._used, width)
                self._used += width
            self._read = end
        return self._series
