"""The life of a client connection, as a table.

============  ==========================================================================================
state         what the connection does
============  ==========================================================================================
OPEN          Reads requests and sends their responses, one after the other.
FINISHING     The worker drains: the request under way is the last one, or one that comes within a moment.
HALF_CLOSED   The client has closed its half after a whole request: what it has sent gets its responses.
LINGERING     The last response has been written. What the client still sends is thrown away, for a while,
              so that it can read that response before a reset deletes it (RFC 9112 section 9.6).
CLOSED        Nothing is read any more.
============  ==========================================================================================

Each state but CLOSED can also end at any time because the connection is lost or broken off.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a client connection is in its life."""

    OPEN = auto()
    FINISHING = auto()
    HALF_CLOSED = auto()
    LINGERING = auto()
    CLOSED = auto()


OPEN: Final = State.OPEN
FINISHING: Final = State.FINISHING
HALF_CLOSED: Final = State.HALF_CLOSED
LINGERING: Final = State.LINGERING
CLOSED: Final = State.CLOSED

TRANSITIONS: Final = {
    OPEN: {FINISHING, HALF_CLOSED, LINGERING, CLOSED},
    FINISHING: {HALF_CLOSED, LINGERING, CLOSED},
    HALF_CLOSED: {LINGERING, CLOSED},
    LINGERING: {CLOSED},
    CLOSED: {CLOSED},
}
"""The states that can follow each state."""
