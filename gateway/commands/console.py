"""What a command prints for the person who runs it."""

import io
import os
import select
import sys
from collections.abc import Iterable

from gateway.config.operator_error import OperatorError

_STDOUT, _STDERR = 1, 2
_READER_TIMEOUT = 100
"""Milliseconds to wait for a reader of standard error."""


class OutputError(OperatorError):
    """Standard output takes nothing."""


def escape_unprintable() -> None:
    """Print characters that the terminal's encoding does not have as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(line: str) -> str:
    """A line as it does nothing to the terminal, and stays one line, whatever somebody else has put in it."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def printable_lines(lines: Iterable[str]) -> str:
    """Lines as one text, each of them made `printable`."""
    return "\n".join(map(printable, lines))


def print_output(text: str) -> None:
    """Print to standard output. A reader that has gone, as ``head`` does, has seen enough.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        print(text)
    except OSError as error:
        _give_up(error)
    flush_output()


def flush_output() -> None:
    """Write what has been printed to standard output so far, as `print_output` does.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        _give_up(error)


def _give_up(error: OSError) -> None:
    # What is left in the buffer would be written again at exit, and fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    if not isinstance(error, BrokenPipeError):
        raise OutputError(f"the output cannot be written: {error.strerror or error}") from error


def print_error(text: str) -> None:
    """Print to standard error, if somebody reads there, before the command ends."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        # As above: a second failure at exit would replace the exit code by Python's own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)


def print_unless_blocked(text: str) -> None:
    """Print to standard error for the operator of a running gateway. Lost, and never waited for, if nobody reads it."""
    writable = select.poll()
    writable.register(_STDERR, select.POLLOUT)
    try:
        for line in text.splitlines():
            if writable.poll(_READER_TIMEOUT):
                os.write(_STDERR, f"{line}\n".encode(errors="backslashreplace"))
    except OSError:
        pass
