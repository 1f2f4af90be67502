"""`Tally`: one worker's numbers, in memory that all workers of a gateway share.

The supervisor makes a tally for each of its workers before it forks them. The memory is anonymous: it needs no file and
no folder, and goes when the gateway goes. A worker counts in its own tally only, so there is no lock; any worker reads
all of them, so whichever is asked answers for the whole gateway. When a worker dies, even by SIGKILL, its numbers stay,
and its successor goes on counting where it stopped: no counter ever goes back.

All numbers are doubles, as in Prometheus itself: counts are exact below 2**53. An aligned double is read and written
whole on every machine we know, so nobody reads half a number.

    cells:  [ bytes of names | beat | lost | a | b | b | b | ... ]
    names:  ["a", ["label"], 1] newline ["b", [], 3] newline ...

A line of names is written before its length is counted in the first cell, so nobody reads half a line either.
"""

import json
import mmap
from collections.abc import Mapping
from typing import NamedTuple

_NAMES, _BEAT, _LOST = 0, 1, 2
_SPILL = 3
WIDEST = 40
"""Cells of a series at most."""

_FIRST = _SPILL + WIDEST
_CELLS = 1 << 16
_SIZE = 1 << 23
"""Bytes in all. Pages that nobody has written to cost nothing."""


class Key(NamedTuple):
    """A series: the family it belongs to and the values of its labels."""

    family: str
    labels: tuple[str, ...] = ()


class Span(NamedTuple):
    """Where a series is: the first of its cells, and how many they are."""

    start: int
    width: int


class Tally:
    """Numbers of one worker.

    Attributes:
        cells: The numbers; index them with what `cell` says.
    """

    __slots__ = ("_names", "_read", "_spans", "_used", "cells")

    def __init__(self) -> None:
        memory = memoryview(mmap.mmap(-1, _SIZE))
        self.cells: memoryview[float] = memory[: 8 * _CELLS].cast("d")
        self._names = memory[8 * _CELLS :]
        self._spans: dict[Key, Span] = {}
        self._read = 0
        self._used = _FIRST

    @property
    def beat(self) -> float:
        """When the worker last showed it is alive, in seconds of the machine's monotonic clock; 0 when it has ended."""
        return self.cells[_BEAT]

    @beat.setter
    def beat(self, now: float) -> None:
        self.cells[_BEAT] = now

    @property
    def lost(self) -> float:
        """Series that found no room, and are not counted."""
        return self.cells[_LOST]

    def cell(self, key: Key, width: int = 1) -> int:
        """Index of the first of a series' cells. They are made, all zero, when there are none.

        Where there is no room left, the answer is a place that nobody reads.
        """
        span = self.spans().get(key)
        if span is not None:
            return span.start
        line = json.dumps([key.family, key.labels, width]).encode() + b"\n"
        end = self._read + len(line)
        if self._used + width > _CELLS or end > len(self._names):
            self.cells[_LOST] += 1
            return _SPILL
        self._names[self._read : end] = line
        self.cells[_NAMES] = end
        return self.spans()[key].start

    def spans(self) -> Mapping[Key, Span]:
        """Where each series is, those included that other processes have made."""
        end = int(self.cells[_NAMES])
        if end > self._read:
            for line in bytes(self._names[self._read : end]).splitlines():
                family, labels, width = json.loads(line)
                self._spans[Key(family, tuple(labels))] = Span(self._used, width)
                self._used += width
            self._read = end
        return self._spans
