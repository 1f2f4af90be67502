"""What a command prints for the person who runs it."""

import os
import select
import sys

_STDERR = 2
_READER_TIMEOUT = 100
"""Milliseconds to wait for a reader of standard error."""


def print_error(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)


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
