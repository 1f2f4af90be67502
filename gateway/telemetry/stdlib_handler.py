"""`StdlibHandler`: brings what libraries log with Python's `logging` into the gateway's log.

aiohttp, asyncio and redis-py would otherwise write free text to standard error, and block while they do.
"""

import logging

from gateway.settings.log import Level
from gateway.telemetry.log import Log


class StdlibHandler(logging.Handler):
    """Logs each record as an event called ``library``.

    Only what the library's authors wrote is kept: the first line of the message without its arguments, and the type and
    place of an error. The arguments may come from a client.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record."""
        message = str(record.msg).partition("\n")[0]
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            self._log.event("library", level=_level(record.levelno), logger=record.name, message=message)
        else:
            self._log.failure("library", error, logger=record.name, message=message)


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
