"""`SocketSite`: serves the control plane on a bound socket, of either kind."""

import asyncio
import sys
from socket import AF_UNIX, socket
from ssl import SSLContext
from typing import Any

from aiohttp import web

from gateway.control.http.deadlines import Deadlines


class SocketSite(web.BaseSite):
    """aiohttp's `SockSite`, which takes no Unix socket.

    Args:
        runner: Serves.
        listening: The socket; the file of a Unix socket stays when it is closed.
        tls: Certificate and key; None for plain HTTP.
        backlog: Connections that may wait in the kernel.
        deadlines: Of its connections.
    """

    __slots__ = ("_deadlines", "_listening")

    def __init__(
        self, runner: web.AppRunner, listening: socket, tls: SSLContext | None, backlog: int, deadlines: Deadlines
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=backlog)
        self._listening = listening
        self._deadlines = deadlines

    @property
    def name(self) -> str:
        """Where it serves."""
        return str(self._listening.getsockname())

    async def start(self) -> None:
        """Begin to serve."""
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None  # noqa: S101 - the runner is set up
        make, more = self._deadlines.wrap(server), dict[str, Any](sock=self._listening, backlog=self._backlog)
        if self._ssl_context is not None:
            seconds = self._deadlines.handshake
            more |= {"ssl": self._ssl_context, "ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}
        if self._listening.family == AF_UNIX:
            if sys.version_info >= (3, 13):
                more["cleanup_socket"] = False
            self._server = await loop.create_unix_server(make, **more)
        else:
            self._server = await loop.create_server(make, **more)
