"""`LingeringClose`: the end of a client connection (RFC 9112 section 9.6).

If bytes are left unread when a connection is closed, the system resets it, and the reset deletes the last response
before the client has read it. So the gateway closes its half, and discards what still comes for a while. A client in
the middle of a body may have to send all of it before it reads: it may go on for `discard_timeout`, and up to
`max_discard` bytes.
"""

import asyncio

from gateway.loop.resettable_timer import ResettableTimer
from gateway.proxy.min_data_rate import SendRate
from gateway.settings.intake import Intake

LINGER = 1.0
"""Seconds to wait for bytes after the last response has been sent."""

_SILENCE = 5.0
"""Seconds to wait for more bytes after some have come."""


class LingeringClose:
    """Gives the client time to read what has been written, and `LINGER` seconds after that.

    Args:
        transport: To the client; nothing more is written to it.
        intake: How much is discarded, and for how long.
        loop: Its clock counts.
        deadline: Has `expire` called.
        rate: How fast the client reads.
    """

    __slots__ = ("_deadline", "_discarded", "_intake", "_loop", "_rate", "_transport", "_until")

    def __init__(
        self,
        transport: asyncio.Transport,
        intake: Intake,
        loop: asyncio.AbstractEventLoop,
        deadline: ResettableTimer,
        rate: SendRate,
    ) -> None:
        self._transport = transport
        self._intake = intake
        self._loop = loop
        self._deadline = deadline
        self._rate = rate
        self._until = loop.time() + intake.discard_timeout
        self._discarded = 0
        rate.begin()
        deadline.set(LINGER)

    def close_half(self) -> None:
        """Close our half after the bytes written so far."""
        try:
            self._transport.write_eof()
        except OSError:  # the client has reset it, which a transport that is not reading has not noticed
            self._transport.abort()
            return
        self._transport.resume_reading()

    def discard(self, size: int) -> None:
        """So many bytes have come."""
        self._discarded += size
        if self._discarded <= self._intake.max_discard and self._loop.time() < self._until:
            self._deadline.set(_SILENCE)
        else:
            self._transport.abort()

    def expire(self) -> None:
        """Nothing has come in time: close the connection, unless the client is still reading."""
        had_sent_all = self._rate.sent_all
        may_wait = self._rate.end()
        if may_wait and not (had_sent_all and self._rate.sent_all):
            self._rate.begin()
            self._deadline.set(LINGER)
        else:
            self._transport.abort()
