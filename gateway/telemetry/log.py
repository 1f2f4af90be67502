"""`Log`: the log of a worker; `PlainLog`: that of the supervisor.

Events go through aiologger. Its own stream handler cannot write to a regular file (under uvloop the process aborts),
and blocks on a full pipe; so it gets a handler that passes lines to a `LogWriter`. aiologger creates a task for each
call, which is too expensive for every request: `access` passes its line to the `LogWriter` directly.

User ids, tokens and passwords are never logged. Callers appear as keyed digests.
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
from gateway.telemetry.access_record import AccessRecord
from gateway.telemetry.log_format import Fields, JsonFormat, LogFormat, TextFormat, Value
from gateway.telemetry.log_writer import LogWriter

_LEVELS = {"debug": LogLevel.DEBUG, "info": LogLevel.INFO, "warning": LogLevel.WARNING, "error": LogLevel.ERROR}
_CLOSE_TIMEOUT = 2.0
"""Seconds for which a log that is being closed still writes."""

_FRAMES = 12
"""Frames of a stack trace that are logged: the innermost."""


class LogWriterHandler(Handler):  # type: ignore[misc]
    """Passes aiologger's records to a `LogWriter`. A record's message is the event's name, its arguments the fields."""

    def __init__(self, log_format: LogFormat, writer: LogWriter) -> None:
        super().__init__()
        self._format = log_format
        self._writer = writer

    @property
    def initialized(self) -> bool:
        """There is nothing to set up."""
        return True

    async def emit(self, record: LogRecord) -> None:
        """Format a record and pass it on, without waiting."""
        self._writer.put(self._format.event(record.created, record.levelname.lower(), record.msg, record.args or {}))

    async def close(self) -> None:
        """Write what is buffered, for at most `_CLOSE_TIMEOUT` seconds."""
        await asyncio.to_thread(self._writer.close, _CLOSE_TIMEOUT)


class Log:
    """The log of one process. All methods but `close` return at once, however slow the reader of the log is.

    Args:
        log_format: Formats lines.
        writer: Writes them.
        level: Events below it are left out.
    """

    __slots__ = ("_format", "_least_level", "_logger", "_writer")

    def __init__(self, log_format: LogFormat, writer: LogWriter, level: Level) -> None:
        self._format = log_format
        self._writer = writer
        self._least_level = _LEVELS[level]
        self._logger = Logger(name="gateway", level=self._least_level)
        self._logger.add_handler(LogWriterHandler(log_format, writer))

    @property
    def dropped(self) -> int:
        """Lines dropped so far because they could not be written."""
        return self._writer.dropped

    def event(self, name: str, /, *, level: Level = "info", **fields: Value) -> None:
        """Log that something happened.

        Args:
            name: In snake_case, a noun and what happened to it.
            level: The severity.
            fields: Never a user id, a token or a password.
        """
        if _LEVELS[level] < self._least_level:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # aiologger needs an event loop; another thread, or a gateway that is starting, has none.
            self._writer.put(self._format.event(time.time(), level, name, fields))
        else:
            # No reference to aiologger's task is needed: our handler never waits, so it ends in its first step.
            getattr(self._logger, level)(name, fields)

    def failure(self, name: str, error: BaseException, /, **fields: Value) -> None:
        """Log an unexpected error: its type and its stack trace.

        Not its message, which may quote what a client sent.
        """
        self.event(name, level="error", **fields, error=type(error).__name__, trace=trace_of(error))

    def access(self, record: AccessRecord) -> None:
        """Log one request."""
        self._writer.put(self._format.access(time.time(), record))

    async def close(self) -> None:
        """Write what is buffered, for at most two seconds. What is logged after that is dropped."""
        await asyncio.sleep(0)  # lets aiologger's tasks run first
        await self._logger.shutdown()


class PlainLog:
    """The log of a process without threads and event loop: the supervisor, which forks.

    A line is written at once, or dropped if the descriptor has no room for it.
    """

    __slots__ = ("_descriptor", "_format", "_least_level", "dropped")

    def __init__(self, log_format: LogFormat, descriptor: int, level: Level) -> None:
        self._format = log_format
        self._descriptor = descriptor
        self._least_level = _LEVELS[level]
        self.dropped = 0

    def event(self, name: str, /, *, level: Level = "info", **fields: Value) -> None:
        """As `Log.event`."""
        if _LEVELS[level] < self._least_level:
            return
        line = self._format.event(time.time(), level, name, fields)
        try:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            if poll.poll(0):
                os.write(self._descriptor, line.encode("ascii"))
                return
        except (OSError, ValueError):  # ValueError: the descriptor is -1
            pass
        self.dropped += 1


def trace_of(error: BaseException) -> list[str]:
    """The stack trace of an error, the innermost frame last."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames]


def open_log(descriptor: int | None = None, *, policy: LogPolicy = LogPolicy(), origin: Fields | None = None) -> Log:
    """Open a log. It starts a thread: call it in each worker, after the fork.

    Args:
        descriptor: Where to write; None for standard error.
        policy: Which events, and in which format.
        origin: Fields of every line, such as the worker's number. The process id is added.
    """
    descriptor = _standard_error() if descriptor is None else descriptor
    log_format = _log_format(descriptor, policy.format, origin)

    def notice(count: int) -> str:
        return log_format.event(time.time(), "warning", "log_lines_dropped", {"count": count})

    return Log(log_format, LogWriter(descriptor, notice), policy.level)


def open_plain_log(
    descriptor: int | None = None, *, policy: LogPolicy = LogPolicy(), origin: Fields | None = None
) -> PlainLog:
    """As `open_log`, for a process that forks. It starts no thread."""
    descriptor = _standard_error() if descriptor is None else descriptor
    return PlainLog(_log_format(descriptor, policy.format, origin), descriptor, policy.level)


def _log_format(descriptor: int, choice: Format, origin: Fields | None) -> LogFormat:
    fields = {**(origin or {}), "pid": os.getpid()}
    text = choice == "text" or (choice == "auto" and os.isatty(descriptor))
    return TextFormat(fields) if text else JsonFormat(fields)


def _standard_error() -> int:
    """Its descriptor; -1 if it was closed before Python started, since its number may have been reused since."""
    return -1 if sys.__stderr__ is None else sys.__stderr__.fileno()
