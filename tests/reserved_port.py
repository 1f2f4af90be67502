"""`ReservedPort`: a port that stays a test's own, whether or not its server runs.

A port that was free a moment ago, or whose server has been killed, may go to somebody else before the test's server
gets it. So a socket that is bound to it and does not listen holds it: connections are refused; servers that set
SO_REUSEADDR, as all do that can be restarted, can listen on it; nobody else can bind it, or is given it.
"""

import random
import socket
from typing import Self

_CLUSTER_BUS = 10_000
"""A node of a Redis Cluster takes the port so far above its own, too."""


class ReservedPort:
    """A port of all addresses of the machine, reserved until it is closed.

    Attributes:
        number: The port.
    """

    def __init__(self) -> None:
        self._holders: list[socket.socket] = []
        while not self._holders:
            # Not an ephemeral one, nor is the other: those are for clients, and for servers that take any.
            self.number = random.randrange(20_000, 22_700)
            self._hold(self.number, self.number + _CLUSTER_BUS)

    def _hold(self, *ports: int) -> None:
        for port in ports:
            holder = socket.socket()
            self._holders.append(holder)
            try:
                holder.bind(("", port))
            except OSError:
                self.close()
                return
            # Only now, so that of two who choose the same port one fails.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def close(self) -> None:
        """Give it back."""
        for holder in self._holders:
            holder.close()
        self._holders.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
