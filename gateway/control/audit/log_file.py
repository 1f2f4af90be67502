"""`AuditLog`: the audit log on disk, one file that several processes append to.

* A writer holds a lock (flock) on a separate file beside the log, reads the last line, appends the next one and waits
  until it is on disk. So lines are in order, whichever worker writes them.
* A line without its line break was cut off by a crash before it was acknowledged. The next writer removes it, and
  records that in a line of its own.
* When the last line was not written with this log's key, a line that says so comes first: the key was added, changed or
  removed, or somebody else wrote the line.
* A file that has become too large is renamed, with the sequence of its last line as a suffix. The chain goes on in a
  new file.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import Any

from gateway.auth.timestamps import timestamp
from gateway.config.operator_error import OperatorError
from gateway.control.audit.entry import BrokenChainError, Entry, Link, is_written_with, read_line, seal
from gateway.settings.control import Control

_MAX_LINE_LENGTH = 1 << 20


class AuditLogError(OperatorError):
    """A line could not be written, and nothing of it is in the log; or the log cannot be read. For operators."""


def open_audit_log(control: Control) -> "AuditLog | None":
    """The audit log of a gateway; None without a folder for it."""
    return AuditLog(control.state / "audit.jsonl", control.audit_size, control.audit_key) if control.state else None


class AuditLog:
    """The audit log at a path. All methods block.

    Args:
        file: The path.
        max_size: Bytes after which a new file is begun.
        key: The key of its lines' HMACs; None for plain hashes.
        clock: The time, in ISO 8601.
    """

    def __init__(
        self, file: Path, max_size: int = 64 << 20, key: bytes | None = None, clock: Callable[[], str] = timestamp
    ) -> None:
        self.file = file
        self._max_size = max_size
        self._key = key
        self._clock = clock

    def append(self, entry: Entry, rules: str) -> Link:
        """Append a line. It is on disk when this returns.

        Raises:
            AuditLogError: it could not be written, or the log is damaged.
        """
        return self._append(lambda _end: entry, rules)

    def begin(self, rules: str) -> None:
        """Record that a gateway starts, if its rules or its key are not those of the last line.

        Raises:
            AuditLogError: it could not be recorded.
        """

        def started(end: Link) -> Entry | None:
            return (
                None if end.rules == rules and end.sequence else Entry("start", "rules", before=end.rules, after=rules)
            )

        self._append(started, rules)

    def _append(self, make: Callable[[Link], Entry | None], rules: str) -> Link:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._lock():
                end, key_change, torn = self._end()
                repair = Entry("audit.repaired", before=torn, reason="removed an incomplete line") if torn else None
                entries = [entry for entry in (repair, key_change, make(end)) if entry is not None]
                return self._write(end, torn, entries, rules)
        except BrokenChainError as error:
            raise AuditLogError(f"the audit log {self.file} is damaged: {error}") from error
        except OSError as error:
            raise AuditLogError(f"the audit log {self.file} cannot be written: {error.strerror}") from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = os.open(f"{self.file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _end(self) -> tuple[Link, Entry | None, int]:
        """The end of the chain, what to record if it has another key, and how many bytes of a torn line follow it."""
        torn = 0
        for file in reversed(self.files()):
            line, rest = _last_line(file)
            if file == self.file:
                torn = rest
            if line:
                end = read_line(line)[1]
                return end, self._key_change(end, line), torn
        return Link(token_hex(8)), None, torn

    def _key_change(self, end: Link, line: bytes) -> Entry | None:
        if is_written_with(self._key, line):
            return None
        how = "with another key, or changed since" if end.is_keyed else "without a key"
        return Entry("audit.key", reason=f"line {end.sequence} was written {how}")

    def _write(self, end: Link, torn: int, entries: Sequence[Entry], rules: str) -> Link:
        if not entries:
            return end
        size = (self.file.stat().st_size if self.file.exists() else 0) - torn
        if size >= self._max_size:
            os.truncate(self.file, size)
            self.file.rename(f"{self.file}.{end.sequence:012}")
            size = 0
        text = b""
        for each in entries:
            line, end = seal(end, each, time=self._clock(), rules=rules, key=self._key)
            text += line
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, size)
            try:
                _write_all(descriptor, text, size)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if size == 0:
            _sync_folder(self.file.parent)
        return end

    def files(self) -> list[Path]:
        """All files of the log, the oldest first."""
        older = sorted(self.file.parent.glob(f"{self.file.name}.{'[0-9]' * 12}"))
        return [*older, *([self.file] if self.file.exists() else [])]

    def lines(self) -> Iterator[bytes]:
        """All lines, the oldest first."""
        return chain.from_iterable(map(_lines, self.files()))

    def page(self, after: int, most: int) -> list[dict[str, Any]]:
        """Up to `most` lines after sequence `after`. An incomplete last line is left out.

        Raises:
            AuditLogError: the log cannot be read, or is damaged.
        """
        files = [file for file in self.files() if file == self.file or int(file.suffix[1:]) > after]
        found: list[dict[str, Any]] = []
        try:
            for line in chain.from_iterable(map(_lines, files)):
                if len(found) == most or not line.endswith(b"\n"):
                    break
                record, link = read_line(line)
                if link.sequence > after:
                    found.append(dict(record))
        except OSError as error:
            raise AuditLogError(f"the audit log {self.file} cannot be read: {error.strerror}") from error
        except BrokenChainError as error:
            raise AuditLogError(f"the audit log {self.file} is damaged: {error}") from error
        return found


def _lines(file: Path) -> Iterable[bytes]:
    with file.open("rb") as opened:
        while line := opened.readline(_MAX_LINE_LENGTH):
            yield line


def _last_line(file: Path) -> tuple[bytes, int]:
    """The last complete line of a file, and how many bytes follow it."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        start = max(0, size - 2 * _MAX_LINE_LENGTH)
        opened.seek(start)
        text = opened.read()
    whole = text[: text.rfind(b"\n") + 1]
    return whole[whole.rfind(b"\n", 0, -1) + 1 :], len(text) - len(whole)


def _write_all(descriptor: int, text: bytes, at: int) -> None:
    written = 0
    while written < len(text):
        written += os.pwrite(descriptor, text[written:], at + written)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
