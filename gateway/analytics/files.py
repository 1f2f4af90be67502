"""`FileSink`: batches as lines of JSON, one file for each UTC day.

    analytics-2026-01-31.jsonl
    {"minute": "2026-01-31T23:59Z", "endpoint": "create-order", "limit": "orders-each", "tier": "gold",
     "outcome": "refused", "count": 12}
    {"minute": "2026-01-31T23:59Z", "limit": "orders-each", "caller": "0123456789abcdef0123456789abcdef", "refused": 12}
    {"minute": "2026-01-31T23:59Z", "endpoint": "create-order", "limit": "orders-each",
     "caller": "0123456789abcdef0123456789abcdef", "cost": 48}

All workers of all gateways on this machine append to the same files. The lines of a batch are appended in one piece,
under a lock (flock). What could not be written completely is removed again. A line without its line break was cut off
by a crash; the next writer ends it, and it is counted as unreadable.
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

from gateway.analytics.batch import Batch, Row, format_minute
from gateway.analytics.sink import SinkUnavailableError, TimeRange, Totals

_NAME = re.compile(r"analytics-(\d{4}-\d{2}-\d{2})\.jsonl", re.ASCII)
_BEGINNING = b'{"minute": "'
"""Of each line; a minute follows, and minutes sort as texts."""

_LOCK_TIMEOUT = 2.0
_LOCK_INTERVAL = 0.005
"""Seconds between two attempts to get the lock."""


class FileSink:
    """A folder of files.

    Args:
        folder: Where the files are; it is created if it does not exist.
        keep: Seconds after which a day is removed.
    """

    def __init__(self, folder: Path, keep: float) -> None:
        self._folder = folder
        self._keep = timedelta(seconds=keep)
        self._cleaned_up: date | None = None
        self._last: UUID | None = None
        self._thread_lock = Lock()

    def __str__(self) -> str:
        return str(self._folder)

    async def put(self, batch: Batch) -> None:
        """See `Sink`. If this is cancelled its thread still writes; the next one takes that into account."""
        await asyncio.to_thread(self._put, batch)

    async def read(self, period: TimeRange) -> Totals:
        """See `Sink`."""
        return await asyncio.to_thread(self._read, period)

    async def close(self) -> None:
        """Nothing to release."""

    def _put(self, batch: Batch) -> None:
        day = _day(batch.minute)
        try:
            with self._thread_lock:
                if batch.key != self._last:
                    self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                    self._append(self._folder / f"analytics-{day}.jsonl", "".join(_lines(batch)).encode())
                    self._last = batch.key
                if day != self._cleaned_up:
                    self._clean_up(day)
                    self._cleaned_up = day
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

    def _clean_up(self, today: date) -> None:
        """Remove the files of days that are too old."""
        for day, file in self._days():
            if day < today - self._keep:
                file.unlink(missing_ok=True)

    def _days(self) -> list[tuple[date, Path]]:
        found = []
        for file in self._folder.iterdir():
            match = _NAME.fullmatch(file.name)
            if match is not None:
                found.append((date.fromisoformat(match[1]), file))
        return sorted(found)

    def _read(self, period: TimeRange) -> Totals:
        totals = Totals()
        first, last = (format_minute(each).encode() for each in (period.since, period.until))
        place = slice(len(_BEGINNING), len(_BEGINNING) + len(first))
        try:
            for day, file in self._days():
                if _day(period.since) <= day <= _day(period.until):
                    with file.open("rb") as lines:
                        for line in lines:
                            # Most lines of a day are of other minutes; this costs a tenth of parsing them.
                            if first <= line[place] < last or not line.startswith(_BEGINNING):
                                _add_line(line, period, totals)
        except FileNotFoundError:
            pass  # nothing has been written yet
        except OSError as error:
            raise SinkUnavailableError(f"{self._folder} cannot be read: {error.strerror}") from error
        return totals


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Wait for the lock, for a bounded time: a waiting thread keeps its process from exiting."""
    until = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds the lock") from None
            time.sleep(_LOCK_INTERVAL)
        else:
            return


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


def _day(second: int) -> date:
    return datetime.fromtimestamp(second, UTC).date()


def _lines(batch: Batch) -> Iterable[str]:
    minute = format_minute(batch.minute)
    for (endpoint, limit, tier, outcome), count in batch.counts.items():
        decision = {"endpoint": endpoint, "limit": limit, "tier": tier, "outcome": outcome, "count": count}
        yield json.dumps({"minute": minute, **decision}) + "\n"
    for limit, caller, count in batch.hits:
        yield json.dumps({"minute": minute, "limit": limit, "caller": caller, "refused": count}) + "\n"
    for endpoint, limit, caller, cost in batch.spent:
        spent = {"endpoint": endpoint, "limit": limit, "caller": caller, "cost": cost}
        yield json.dumps({"minute": minute, **spent}) + "\n"


def _add_line(line: bytes, period: TimeRange, totals: Totals) -> None:
    """Add a line of a file to the totals."""
    try:
        entry = json.loads(line)
        minute = int(datetime.fromisoformat(entry["minute"]).timestamp())
        if not period.since <= minute < period.until:
            return
        if "cost" in entry:
            totals.spent[str(entry["endpoint"]), str(entry["limit"]), str(entry["caller"])] += int(entry["cost"])
        elif "caller" in entry:
            totals.hits[str(entry["limit"]), str(entry["caller"])] += int(entry["refused"])
        else:
            row = Row(str(entry["endpoint"]), str(entry["limit"]), str(entry["tier"]), str(entry["outcome"]))
            totals.decisions[period.step_of(minute), row] += int(entry["count"])
    except (ValueError, KeyError, TypeError):
        totals.unreadable += 1
