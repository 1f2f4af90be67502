"""`SocketSite`: serves the control plane on a bound socket, of either kind."""

import asyncio
import sys
from socket import AF_UNIX, socket
from ssl import SSLContext
from typing import Any

from aiohttp import web


class SocketSite(web.BaseSite):
    """aiohttp's `SockSite`, which takes no Unix socket.

    Args:
        runner: Serves.
        listening: The socket; the file of a Unix socket stays when it is closed.
        tls: Certificate and key; None for plain HTTP.
        backlog: Connections that may wait in the kernel.
    """

    __slots__ = ("_listening",)

    def __init__(self, runner: web.AppRunner, listening: socket, tls: SSLContext | None, backlog: int) -> None:
        super().__init__(runner, ssl_context=tls, backlog=backlog)
        self._listening = listening

    @property
    def name(self) -> str:
        """Where it serves."""
        return str(self._listening.getsockname())

    async def start(self) -> None:
        """Begin to serve."""
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None  # noqa: S101 - the runner is set up
        if self._listening.family == AF_UNIX:
            keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
            self._server = await loop.create_unix_server(
                server, sock=self._listening, ssl=self._ssl_context, backlog=self._backlog, **keep
            )
        else:
            self._server = await loop.create_server(
                server, sock=self._listening, ssl=self._ssl_context, backlog=self._backlog
            )
