"""The life of a client connection, as a table.

============  ==========================================================================================
state         what the connection does
============  ==========================================================================================
OPEN          Reads requests and sends their responses, one after the other.
FINISHING     The worker drains: the request in flight is the last one, or one that comes within a second.
HALF_CLOSED   The client has closed its half after a complete request; its requests still get their responses.
LINGERING     The last response has been written. What the client still sends is discarded for a while, so
              that it can read that response before a reset deletes it (RFC 9112 section 9.6).
CLOSED        Nothing is read any more.
============  ==========================================================================================

From every state, CLOSED follows when the connection is lost or shut down.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """The states of a client connection."""

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
