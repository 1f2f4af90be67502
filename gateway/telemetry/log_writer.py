"""`LogWriter`: lines of text into a file descriptor, without ever making anybody wait.

Lines are kept in a buffer of bounded length, and one daemon thread writes them out. The thread may block for as long as
the reader of a pipe or a slow disk likes; meanwhile the buffer fills, and what finds no room is dropped and counted.
When a write succeeds again, a line says how many were dropped.

Works on whatever a descriptor can be (pipe, terminal, regular file, socket), and under any event loop, since it uses
none. The descriptor's flags are left alone: they are shared with every process that has it open.
"""

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable

LONGEST = select.PIPE_BUF
"""Bytes of one line at most. A pipe takes so many whole or not at all (POSIX), so workers may share it: their lines do
not mix, and a full pipe holds no half of one."""

_TO_FILE = 1 << 16
"""Bytes of one write to a regular file: writes to it are one after the other, however long."""

_GATHER = 0.02
"""Seconds in which lines gather before they are written, so that a busy gateway makes one call for many."""

_RETRY = 1000
"""Milliseconds to wait for room in a descriptor that somebody made non-blocking."""


class LogWriter:
    """Writes lines into a file descriptor, in a thread of its own.

    Args:
        descriptor: Where to. It is duplicated, so that nobody can close it under us and give its number to a client's
            connection. When it is closed, every line is dropped.
        notice: Makes the line that says how many lines were dropped.
        room: Lines kept at most while they cannot be written.
    """

    __slots__ = (
        "_abandoned",
        "_closing",
        "_file",
        "_lines",
        "_lost",
        "_most",
        "_notice",
        "_refused",
        "_room",
        "_thread",
        "_wake",
    )

    def __init__(self, descriptor: int, notice: Callable[[int], str], room: int = 10_000) -> None:
        self._file, self._most = _own(descriptor)
        self._notice = notice
        self._room = room
        self._lines: deque[str] = deque()
        # Two counters, one for each thread that counts.
        self._refused = 0
        self._lost = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many lines were dropped so far."""
        return self._refused + self._lost

    def put(self, line: str) -> None:
        """Write `line`, which ends in a newline, some time soon; or drop it. Never waits, never raises."""
        if len(self._lines) >= self._room or self._closing.is_set():
            self._refused += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, patience: float) -> None:
        """Write what is left, for at most `patience` seconds, and stop. What cannot be written is dropped."""
        self._closing.set()
        self._wake.set()
        self._thread.join(patience)
        self._abandoned = True
        self._refused += len(self._lines)

    def _run(self) -> None:
        said = 0
        torn = False
        # Closing first: once it is set, no more lines come.
        while not self._closing.is_set() or (self._lines and not self._abandoned):
            self._wake.wait()
            self._closing.wait(_GATHER)
            # Cleared before the lines are taken: a line that comes from now on sets it again.
            self._wake.clear()
            while self._lines and not self._abandoned:
                lines = self._gather()
                # What was torn off by a full disk shall not run into what comes now.
                data = ("\n" * torn + "".join(lines)).encode("ascii", "backslashreplace")
                written = self._write(data)
                if written < len(data):
                    self._lost += len(lines) - data.count(b"\n", int(torn), written)
                    torn = torn if not written else data[written - 1 : written] != b"\n"
                    continue
                torn = False
                if (dropped := self.dropped) > said:
                    notice = self._notice(dropped - said).encode("ascii", "backslashreplace")
                    written = self._write(notice)
                    said = dropped if written == len(notice) else said
                    torn = 0 < written < len(notice)
        if self._file >= 0:
            os.close(self._file)

    def _gather(self) -> list[str]:
        """The next lines, as many as one write may hold: at least one, with a byte to spare."""
        lines = [self._lines.popleft()]
        size = len(lines[0])
        while self._lines and size + len(self._lines[0]) < self._most:
            lines.append(self._lines.popleft())
            size += len(lines[-1])
        return lines

    def _write(self, data: bytes) -> int:
        """Write `data`, waiting as long as it takes. Returns how many bytes got out."""
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


def _own(descriptor: int) -> tuple[int, int]:
    """A duplicate of a descriptor, -1 for one that is closed; and how many bytes to write to it at once."""
    try:
        own = os.dup(descriptor)
    except OSError:
        return -1, LONGEST
    return own, _TO_FILE if stat.S_ISREG(os.fstat(own).st_mode) else LONGEST
