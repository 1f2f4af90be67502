"""`Log`: what happened, told to the operator as it happens.

Events go through aiologger. Its own stream handler cannot write to a regular file (and takes the process down under
uvloop when it tries), and waits for a pipe that is full; so it is given a handler that puts lines into an `LogWriter`.
aiologger makes a task for each call, which is dear for one line a request: `access` puts its line there directly.

Nobody's id, token or password is ever logged. `access` has no field for them; a caller is known by a keyed digest.
"""

import asyncio
import os
import select
import sys
import time
import traceback
from pathlib import Path

from aiologger import Logger  # type: ignore[import-untyped]
from aiologger.handlers.base import Handler  # type: ignore[import-untyped]
from aiologger.levels import LogLevel  # type: ignore[import-untyped]
from aiologger.records import LogRecord  # type: ignore[import-untyped]

from gateway.settings.log import Format, Level, LogPolicy
from gateway.telemetry.log_format import AccessRecord, Fields, JsonFormat, LogFormat, TextFormat, Value
from gateway.telemetry.log_writer import LogWriter

_LEVELS = {"debug": LogLevel.DEBUG, "info": LogLevel.INFO, "warning": LogLevel.WARNING, "error": LogLevel.ERROR}
_PATIENCE = 2.0
"""Seconds in which a log that is closed may still write."""

_FRAMES = 12
"""Frames of a trace: the innermost say most."""


class OutletHandler(Handler):  # type: ignore[misc]
    """aiologger's way to an `LogWriter`. A record's message is the event's name, its arguments are the fields."""

    def __init__(self, lines: LogFormat, outlet: LogWriter) -> None:
        super().__init__()
        self._lines = lines
        self._outlet = outlet

    @property
    def initialized(self) -> bool:
        """There is nothing to set up."""
        return True

    async def emit(self, record: LogRecord) -> None:
        """Put a record's line into the outlet, without waiting."""
        self._outlet.put(self._lines.event(record.created, record.levelname.lower(), record.msg, record.args or {}))

    async def close(self) -> None:
        """Write what is left, within bounded time."""
        await asyncio.to_thread(self._outlet.close, _PATIENCE)


class Log:
    """The log of one process. All methods but `close` return at once, wherever lines go and whatever becomes of them.

    Args:
        lines: Makes lines.
        outlet: Takes them.
        level: Events below it are left out.
    """

    __slots__ = ("_least", "_lines", "_logger", "_outlet")

    def __init__(self, lines: LogFormat, outlet: LogWriter, level: Level) -> None:
        self._lines = lines
        self._outlet = outlet
        self._least = _LEVELS[level]
        self._logger = Logger(name="gateway", level=self._least)
        self._logger.add_handler(OutletHandler(lines, outlet))

    @property
    def dropped(self) -> int:
        """Lines dropped so far, because they could not be written."""
        return self._outlet.dropped

    def event(self, name: str, /, *, level: Level = "info", **fields: Value) -> None:
        """Log that something happened.

        Args:
            name: What, in snake_case.
            level: How bad it is.
            fields: The facts. Never a user id, a token or a password.
        """
        if _LEVELS[level] < self._least:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # aiologger cannot do without a loop; another thread, or a gateway about to start, has none.
            self._outlet.put(self._lines.event(time.time(), level, name, fields))
        else:
            # aiologger's task needs nobody to hold it: our handler never waits, so it ends in its first step.
            getattr(self._logger, level)(name, fields)

    def failure(self, name: str, error: BaseException, /, **fields: Value) -> None:
        """Log an error that nobody foresaw: its type and where it came from.

        Not its message, which may quote what a client sent.
        """
        self.event(name, level="error", **fields, error=type(error).__name__, trace=trace_of(error))

    def access(self, access: AccessRecord) -> None:
        """Log one request. Cheap enough for each."""
        self._outlet.put(self._lines.access(time.time(), access))

    async def close(self) -> None:
        """Write what is left, for at most two seconds. What is logged after that is dropped."""
        await asyncio.sleep(0)  # aiologger's tasks run first
        await self._logger.shutdown()


class PlainLog:
    """The log of a process that has neither threads nor an event loop: the supervisor's, which forks.

    A line is written at once, or dropped when there is no room for it.
    """

    __slots__ = ("_descriptor", "_least", "_lines", "dropped")

    def __init__(self, lines: LogFormat, descriptor: int, level: Level) -> None:
        self._lines = lines
        self._descriptor = descriptor
        self._least = _LEVELS[level]
        self.dropped = 0

    def event(self, name: str, /, *, level: Level = "info", **fields: Value) -> None:
        """As `Log.event`."""
        if _LEVELS[level] < self._least:
            return
        line = self._lines.event(time.time(), level, name, fields)
        try:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            if poll.poll(0):
                os.write(self._descriptor, line.encode("ascii"))
                return
        except (OSError, ValueError):  # -1 is no descriptor at all
            pass
        self.dropped += 1


def trace_of(error: BaseException) -> list[str]:
    """Where an error came from, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames]


def open_log(descriptor: int | None = None, *, policy: LogPolicy = LogPolicy(), origin: Fields | None = None) -> Log:
    """A log on a file descriptor. It starts a thread: call it in each worker, after the fork.

    Args:
        descriptor: Where to; None for standard error.
        policy: Which events, and in which format.
        origin: Fields of every line, such as the worker's number. The process id is added.
    """
    descriptor = _standard_error() if descriptor is None else descriptor
    lines = _lines(descriptor, policy.format, origin)

    def notice(count: int) -> str:
        return lines.event(time.time(), "warning", "log_lines_dropped", {"count": count})

    return Log(lines, LogWriter(descriptor, notice), policy.level)


def open_plain_log(
    descriptor: int | None = None, *, policy: LogPolicy = LogPolicy(), origin: Fields | None = None
) -> PlainLog:
    """As `open_log`, for a process that forks. It starts no thread."""
    descriptor = _standard_error() if descriptor is None else descriptor
    return PlainLog(_lines(descriptor, policy.format, origin), descriptor, policy.level)


def _lines(descriptor: int, form: Format, origin: Fields | None) -> LogFormat:
    fields = {**(origin or {}), "pid": os.getpid()}
    text = form == "text" or (form == "auto" and os.isatty(descriptor))
    return TextFormat(fields) if text else JsonFormat(fields)


def _standard_error() -> int:
    """Its descriptor; -1 when it was closed before Python started, for then its number is anybody's by now."""
    return -1 if sys.__stderr__ is None else sys.__stderr__.fileno()
