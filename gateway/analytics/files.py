"""`FileSink`: batches as lines of JSON, one file for each UTC day.

    analytics-2026-01-31.jsonl
    {"minute": "2026-01-31T23:59Z", "endpoint": "create-order", "limit": "orders-each", "tier": "gold",
     "outcome": "refused", "count": 12}
    {"minute": "2026-01-31T23:59Z", "limit": "orders-each", "caller": "0123456789abcdef0123456789abcdef", "refused": 12}

The lines of a batch are appended in one piece, under a lock (flock), by whichever worker of whichever gateway on this
machine. What could not be written to its end is taken away again. A line without its line break was cut off by a crash;
the next writer ends it, and it is counted as unreadable.
"""

import asyncio
import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Lock
from uuid import UUID

from gateway.analytics.batch import Batch, Row, written
from gateway.analytics.sink import Reading, SinkUnavailableError, Span

_NAME = re.compile(r"analytics-(\d{4}-\d{2}-\d{2})\.jsonl", re.ASCII)
_PATIENCE = 2.0
"""Seconds to wait for the lock."""

_LOOK = 0.005


class FileSink:
    """A folder of files.

    Args:
        folder: Where; it is made when it is not there.
        keep: Seconds after which a day is removed.
    """

    def __init__(self, folder: Path, keep: float) -> None:
        self._folder = folder
        self._keep = timedelta(seconds=keep)
        self._swept: date | None = None
        self._last: UUID | None = None
        self._one_at_a_time = Lock()

    def __str__(self) -> str:
        return str(self._folder)

    async def put(self, batch: Batch) -> None:
        """See `Shelf`. A thread that is not waited for any more still writes; the next one sees that."""
        await asyncio.to_thread(self._put, batch)

    async def read(self, span: Span) -> Reading:
        """See `Shelf`."""
        return await asyncio.to_thread(self._read, span)

    async def close(self) -> None:
        """Nothing is held."""

    def _put(self, batch: Batch) -> None:
        day = _day(batch.minute)
        try:
            with self._one_at_a_time:
                if batch.key != self._last:
                    self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                    self._append(self._folder / f"analytics-{day}.jsonl", "".join(_lines(batch)).encode())
                    self._last = batch.key
                if day != self._swept:
                    self._sweep(day)
                    self._swept = day
        except OSError as error:
            raise SinkUnavailableError(f"{self._folder} cannot be written: {error.strerror}") from error

    def _append(self, file: Path, text: bytes) -> None:
        with _locked(file) as descriptor:
            size = os.fstat(descriptor).st_size
            torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
            try:
                _write(descriptor, b"\n" + text if torn else text)
            except OSError:
                os.ftruncate(descriptor, size)
                raise

    def _sweep(self, today: date) -> None:
        """Remove the days that are too old."""
        for day, file in self._days():
            if day < today - self._keep:
                file.unlink(missing_ok=True)

    def _days(self) -> list[tuple[date, Path]]:
        found = []
        for file in self._folder.iterdir():
            form = _NAME.fullmatch(file.name)
            if form is not None:
                found.append((date.fromisoformat(form[1]), file))
        return sorted(found)

    def _read(self, span: Span) -> Reading:
        reading = Reading()
        try:
            for day, file in self._days():
                if _day(span.since) <= day <= _day(span.until):
                    with file.open("rb") as lines:
                        for line in lines:
                            _understand(line, span, reading)
        except FileNotFoundError:
            pass  # nobody has written yet
        except OSError as error:
            raise SinkUnavailableError(f"{self._folder} cannot be read: {error.strerror}") from error
        return reading


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Wait for the lock, but not for ever: a thread that waits keeps its process from ending."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps it locked") from None
            time.sleep(_LOOK)
        else:
            return


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


def _day(second: int) -> date:
    return datetime.fromtimestamp(second, UTC).date()


def _lines(batch: Batch) -> Iterable[str]:
    minute = written(batch.minute)
    for (endpoint, limit, tier, outcome), count in batch.counts.items():
        decided = {"endpoint": endpoint, "limit": limit, "tier": tier, "outcome": outcome, "count": count}
        yield json.dumps({"minute": minute, **decided}) + "\n"
    for limit, caller, count in batch.hits:
        yield json.dumps({"minute": minute, "limit": limit, "caller": caller, "refused": count}) + "\n"


def _understand(line: bytes, span: Span, reading: Reading) -> None:
    """Add what a line says to a reading."""
    try:
        said = json.loads(line)
        minute = int(datetime.fromisoformat(said["minute"]).timestamp())
        if not span.since <= minute < span.until:
            return
        if "caller" in said:
            reading.hits[str(said["limit"]), str(said["caller"])] += int(said["refused"])
        else:
            row = Row(str(said["endpoint"]), str(said["limit"]), str(said["tier"]), str(said["outcome"]))
            reading.decisions[span.start_of(minute), row] += int(said["count"])
    except (ValueError, KeyError, TypeError):
        reading.unreadable += 1
