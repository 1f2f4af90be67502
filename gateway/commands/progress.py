"""`ProgressBar`: how far a command is, on standard error, if that is a terminal."""

import sys
from time import monotonic

from gateway.commands.console import print_error

_WIDTH = 30
_PERIOD = 0.1
"""Seconds between two pictures."""


class ProgressBar:
    """Shows how much has been read.

    Args:
        size: Bytes of everything; None if that is unknown.

    Attributes:
        size: As given.
    """

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def show(self, read: int) -> None:
        """Show that so many bytes have been read, unless it was shown just now."""
        now = monotonic()
        if not self._shown or now < self._next:
            return
        self._next = now + _PERIOD
        if not self.size:
            print_error(f"{read / 1e6:.0f} MB read\x1b[K\x1b[F")
            return
        share = min(1.0, read / self.size)
        filled = round(share * _WIDTH)
        print_error(f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {share:4.0%}\x1b[K\x1b[F")

    def clear(self) -> None:
        """Remove it from the terminal."""
        if self._shown and self._next:
            print_error("\x1b[K\x1b[F")
