"""`HandshakePace`: how many TLS handshakes begin in a second, so that they leave time for requests."""

import asyncio
from collections import OrderedDict
from socket import socket

from gateway.proxy.accepted_socket import has_ended

_TOGETHER = 0.02
"""Seconds whose handshakes may begin together: an iteration of the event loop takes at least as long as all in it."""


class HandshakePace:
    """Gives connections their turn to begin a handshake, in the order in which they ask.

    A handshake costs as much CPU as ten requests. When all clients connect at once, after a restart for example, or
    when somebody does nothing but connect, those that are connected would wait for all the handshakes.

    A client that has left meanwhile takes no turn: in a long line all would be for clients that gave up.

    Args:
        rate: Handshakes a second.
    """

    __slots__ = ("_due", "_interval", "_line", "_loop", "_timer")

    def __init__(self, rate: int) -> None:
        self._interval = 1 / rate
        self._loop = asyncio.get_running_loop()
        self._line: OrderedDict[asyncio.Future[None], socket] = OrderedDict()
        self._due = 0.0  # when the next one would begin if none began together
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Connections that wait for their turn."""
        return len(self._line)

    async def turn(self, accepted: socket) -> None:
        """Wait until the handshake on this socket may begin.

        Raises:
            ConnectionAbortedError: the client left before.
        """
        if not self._line and self._may_begin():
            self._count()
            return
        turn = self._loop.create_future()
        self._line[turn] = accepted
        if self._timer is None:
            self._wait()
        try:
            await turn
        finally:
            self._line.pop(turn, None)

    def _may_begin(self) -> bool:
        return self._due - _TOGETHER <= self._loop.time()

    def _count(self) -> None:
        self._due = max(self._due, self._loop.time()) + self._interval

    def _wait(self) -> None:
        self._timer = self._loop.call_at(self._due - _TOGETHER, self._go_on)

    def _go_on(self) -> None:
        self._timer = None
        while self._line and self._may_begin():
            turn, accepted = self._line.popitem(last=False)
            if turn.done():  # given up in this iteration
                continue
            if has_ended(accepted):
                turn.set_exception(ConnectionAbortedError("the client left before its turn for a handshake"))
                continue
            self._count()
            turn.set_result(None)
        if self._line:
            self._wait()
