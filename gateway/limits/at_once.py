"""`AtOnce`: what a limit of requests at the same time has in place of a rate."""

from dataclasses import dataclass

UNIT = "at once"
"""In place of the unit of a calendar."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """A token is a request in flight. It comes back when the request has ended, and not with time."""

    @property
    def interval(self) -> int:
        """A token counts as one."""
        return 1
