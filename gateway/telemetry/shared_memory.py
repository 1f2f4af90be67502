"""`SharedCounters`: one worker's numbers, in memory that all workers of a gateway share.

The supervisor makes two tallies for each of its workers before it forks them: in a rolling restart a worker counts in
one while its successor counts in the other. The memory is a file without a name: it needs no folder, goes when the
gateway goes, and is handed on by its descriptor. A worker counts in its own tally only, so there is no lock; any worker
reads all of them, so whichever is asked answers for the whole gateway. When a worker dies, even by SIGKILL, its numbers
stay, and its successor goes on counting where it stopped: no counter ever goes back.

All numbers are doubles, as in Prometheus itself: counts are exact below 2**53. An aligned double is read and written
whole on every machine we know, so nobody reads half a number.

    cells:  [ bytes of names | beat | lost | began | a | b | b | b | ... ]
    names:  ["a", ["label"], 1] newline ["b", [], 3] newline ...

A line of names is written before its length is counted in the first cell, so nobody reads half a line either.
"""

import json
import mmap
import os
from collections.abc import Mapping
from tempfile import TemporaryFile
from typing import NamedTuple

FORM = 1
"""Of the memory. Another one when a program could not read what this one wrote."""

_NAMES, _BEAT, _LOST, _BEGAN = range(4)
_SPILL = 4
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


def _nameless() -> int:
    """A descriptor of a file without a name, in memory where the system knows of such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("gateway-tally")
    with TemporaryFile() as file:
        return os.dup(file.fileno())


class SharedCounters:
    """Numbers of one worker.

    Args:
        descriptor: Of a tally's memory, to go on with it; None for a new one.

    Attributes:
        cells: The numbers; index them with what `cell` says.
        descriptor: Of its memory.
    """

    __slots__ = ("_names", "_read", "_spans", "_used", "cells", "descriptor")

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _nameless() if descriptor is None else descriptor
        os.ftruncate(self.descriptor, _SIZE)
        memory = memoryview(mmap.mmap(self.descriptor, _SIZE))
        self.cells: memoryview[float] = memory[: 8 * _CELLS].cast("d")
        self._names = memory[8 * _CELLS :]
        self._spans: dict[Key, Span] = {}
        self._read = 0
        self._used = _FIRST

    @property
    def heartbeat(self) -> float:
        """When the worker last showed it is alive, in seconds of the machine's monotonic clock; 0 when it has ended."""
        return self.cells[_BEAT]

    @heartbeat.setter
    def heartbeat(self, now: float) -> None:
        self.cells[_BEAT] = now

    @property
    def began(self) -> float:
        """When the worker began to count here, by the same clock."""
        return self.cells[_BEGAN]

    @began.setter
    def began(self, now: float) -> None:
        self.cells[_BEGAN] = now

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
