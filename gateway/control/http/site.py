"""`SocketSite`: serves the control plane on a bound socket, of either kind."""

import asyncio
import sys
from http import HTTPStatus
from socket import AF_UNIX, socket
from ssl import SSLContext
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import LineTooLong

from gateway.control.http.deadlines import Deadlines
from gateway.control.http.direct import DirectConnections
from gateway.control.http.problem import Problem

_MAX_HEADER = 8190
_MAX_TARGET = 8191
"""Sizes in bytes. aiohttp's error tells a target from a header only by the limit, so the two must differ."""


class _RequestHandler(web.RequestHandler):
    """aiohttp's connection, which responds with a problem to a request that cannot be read."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to a request whose handling failed; the connection ends with it."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        response = _problem(exc).response()
        response.force_close()
        return response


def _problem(error: HttpProcessingError) -> Problem:
    if not isinstance(error, LineTooLong):
        return Problem(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP")
    if error.args[1] == _MAX_TARGET:
        return Problem(HTTPStatus.REQUEST_URI_TOO_LONG)
    return Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


class SocketSite(web.BaseSite):
    """aiohttp's `SockSite`, which takes no Unix socket.

    Args:
        runner: Serves.
        listening: The socket; the file of a Unix socket stays when it is closed.
        tls: Certificate and key; None for plain HTTP.
        backlog: Connections that may wait in the kernel.
        deadlines: Of its connections.
        direct: Makes the connections that begin without aiohttp.
    """

    __slots__ = ("_deadlines", "_direct", "_listening")

    def __init__(
        self,
        runner: web.AppRunner,
        listening: socket,
        tls: SSLContext | None,
        backlog: int,
        deadlines: Deadlines,
        direct: DirectConnections,
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=backlog)
        self._listening = listening
        self._deadlines = deadlines
        self._direct = direct

    @property
    def name(self) -> str:
        """Where it serves."""
        return str(self._listening.getsockname())

    async def start(self) -> None:
        """Begin to serve."""
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None  # noqa: S101 - the runner is set up
        make = self._direct.before(
            self._deadlines.wrap(
                lambda: _RequestHandler(
                    server,
                    loop=loop,
                    access_log=None,  # type: ignore[arg-type] # which is how aiohttp has it turned off
                    auto_decompress=False,
                    max_line_size=_MAX_TARGET,
                    max_field_size=_MAX_HEADER,
                )
            )
        )
        more = dict[str, Any](sock=self._listening, backlog=self._backlog)
        if self._ssl_context is not None:
            seconds = self._deadlines.handshake
            more |= {"ssl": self._ssl_context, "ssl_handshake_timeout": seconds, "ssl_shutdown_timeout": seconds}
        if self._listening.family == AF_UNIX:
            if sys.version_info >= (3, 13):
                more["cleanup_socket"] = False
            self._server = await loop.create_unix_server(make, **more)
        else:
            self._server = await loop.create_server(make, **more)
