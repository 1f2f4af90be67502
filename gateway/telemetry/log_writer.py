"""`LogWriter`: writes lines to a file descriptor without ever blocking the caller.

Lines wait in a bounded buffer, and one daemon thread writes them. The thread may block for as long as the reader of a
pipe or a slow disk takes; meanwhile the buffer fills, and lines that do not fit are dropped and counted. When a write
succeeds again, a line reports how many were dropped.

Works on any descriptor (pipe, terminal, regular file, socket) and under any event loop, since it uses none. The
descriptor's flags are left alone: they are shared with every process that has it open.
"""

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable

LONGEST = select.PIPE_BUF
"""Bytes of one line at most. A pipe takes so many whole or not at all (POSIX), so workers can share it: their lines do
not mix, and a full pipe never gets half of one."""

_FILE_WRITE_SIZE = 1 << 16
"""Bytes of one write to a regular file: writes to it do not interleave, however long they are."""

_GATHER_TIME = 0.02
"""Seconds for which lines are gathered before they are written, so that a busy gateway makes fewer system calls."""

_RETRY = 1000
"""Milliseconds to wait for room in a descriptor that was set to non-blocking."""


class LogWriter:
    """Writes lines to a file descriptor, in a thread of its own.

    Args:
        descriptor: Where to write. It is duplicated, so that its number cannot be closed and reused for a client's
            connection. If it is closed, all lines are dropped.
        notice: Formats the line that reports how many lines were dropped.
        room: Lines that are buffered at most.
    """

    __slots__ = (
        "_abandoned",
        "_closing",
        "_file",
        "_lines",
        "_notice",
        "_refused",
        "_room",
        "_thread",
        "_unwritten",
        "_wake",
        "_write_size",
    )

    def __init__(self, descriptor: int, notice: Callable[[int], str], room: int = 10_000) -> None:
        self._file, self._write_size = _duplicate(descriptor)
        self._notice = notice
        self._room = room
        self._lines: deque[str] = deque()
        # Two counters of dropped lines, one for each thread: `put` refused them, or they could not be written.
        self._refused = 0
        self._unwritten = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines dropped so far."""
        return self._refused + self._unwritten

    def put(self, line: str) -> None:
        """Write `line`, which ends in a newline, soon; or drop it. Never blocks, never raises."""
        if len(self._lines) >= self._room or self._closing.is_set():
            self._refused += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, timeout: float) -> None:
        """Write what is buffered, for at most `timeout` seconds, and stop. Lines not written by then are dropped."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)
        self._abandoned = True
        self._refused += len(self._lines)

    def _run(self) -> None:
        reported = 0
        torn = False  # the last line was written in part
        # Closing is checked first: once it is set, no more lines arrive.
        while not self._closing.is_set() or (self._lines and not self._abandoned):
            self._wake.wait()
            self._closing.wait(_GATHER_TIME)
            # Cleared before the lines are taken: a line that arrives from now on sets it again.
            self._wake.clear()
            while self._lines and not self._abandoned:
                lines = self._gather()
                data = ("\n" * torn + "".join(lines)).encode("ascii", "backslashreplace")
                written = self._write(data)
                if written < len(data):
                    self._unwritten += len(lines) - data.count(b"\n", int(torn), written)
                    torn = torn if not written else data[written - 1 : written] != b"\n"
                    continue
                torn = False
                if (dropped := self.dropped) > reported:
                    notice = self._notice(dropped - reported).encode("ascii", "backslashreplace")
                    written = self._write(notice)
                    reported = dropped if written == len(notice) else reported
                    torn = 0 < written < len(notice)
        if self._file >= 0:
            os.close(self._file)

    def _gather(self) -> list[str]:
        """The next lines, as many as fit into one write: at least one, with a byte to spare."""
        lines = [self._lines.popleft()]
        size = len(lines[0])
        while self._lines and size + len(self._lines[0]) < self._write_size:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        return lines

    def _write(self, data: bytes) -> int:
        """Write `data`, however long that takes. Returns how many bytes were written."""
        done = 0
        while done < len(data):
            try:
                done += os.write(self._file, data[done:])
            except BlockingIOError:
                self._wait_for_room()
                if self._closing.is_set():
                    break
            except OSError:
                break
        return done

    def _wait_for_room(self) -> None:
        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        poll.poll(_RETRY)


def _duplicate(descriptor: int) -> tuple[int, int]:
    """A duplicate of a descriptor, -1 if it is closed; and how many bytes to write to it at once."""
    try:
        duplicate = os.dup(descriptor)
    except OSError:
        return -1, LONGEST
    return duplicate, _FILE_WRITE_SIZE if stat.S_ISREG(os.fstat(duplicate).st_mode) else LONGEST
