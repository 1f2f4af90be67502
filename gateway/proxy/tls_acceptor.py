"""`TlsAcceptor`: takes connections for TLS, and counts them from the first.

An event loop tells of a connection when its handshake is done. Until then it would count against no cap, and thousands
that never say hello would cost nobody but us; so those who speak TLS are let in here.
"""

import asyncio
from socket import socket
from ssl import SSLContext
from typing import Any, Protocol

from gateway.limits.address import Address
from gateway.proxy.observer import RequestObserver
from gateway.proxy.peer import peer_address
from gateway.proxy.server import Server
from gateway.proxy.tls import TlsTransport
from gateway.settings.intake import Intake

_AT_ONCE = 64
"""Connections taken before others get their turn."""

_REST = 1.0
"""Seconds for which none are taken when there is no room for another, descriptors for example."""


class Listening(Protocol):
    """What is closed to take no more connections."""

    def close(self) -> None:
        """Take no more; those that are there go on."""


async def listen(
    server: Server, listening: socket, intake: Intake, observer: RequestObserver, tls: SSLContext | None, backlog: int
) -> Listening:
    """Take connections for `server`, from a socket that is bound; `backlog` of them may wait in the kernel."""
    listening.listen(backlog)
    if tls is not None:
        return TlsAcceptor(server, listening, intake, observer, tls)
    return await asyncio.get_running_loop().create_server(server, sock=listening, backlog=backlog)


class TlsAcceptor:
    """Takes connections for TLS.

    One that is over a cap is closed without a word: a handshake, to say 503 behind it, is what it shall not get.

    Args:
        server: Makes connections, and counts them.
        listening: A socket that listens; closed in the end.
        intake: A handshake has `head_timeout`.
        observer: Is told which connections were not taken, or did not get through the handshake.
        tls: Certificate and key.
    """

    __slots__ = ("_handshakes", "_intake", "_listening", "_loop", "_observer", "_pause", "_server", "_tls")

    def __init__(
        self, server: Server, listening: socket, intake: Intake, observer: RequestObserver, tls: SSLContext
    ) -> None:
        self._server = server
        self._listening = listening
        self._intake = intake
        self._observer = observer
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Take no more; those that are there go on, with their handshakes too."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def _open(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._take)

    def _take(self) -> None:
        try:
            for _ in range(_AT_ONCE):
                self._admit(*self._listening.accept())
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass
        except OSError:
            # It would be reported again at once, and for ever.
            self._loop.remove_reader(self._listening)
            self._pause = self._loop.call_later(_REST, self._open)

    def _admit(self, accepted: socket, name: Any) -> None:
        peer = peer_address(name)
        cause = self._server.admit(peer)
        if cause is not None:
            self._observer.rejected(cause)
            accepted.close()
            return
        accepted.setblocking(False)
        shaking = self._loop.create_task(self._shake_hands(accepted, peer))
        self._handshakes.add(shaking)
        shaking.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket, peer: Address | None) -> None:
        made: list[Address | None] = []  # holds the peer as soon as the connection answers for itself
        tls = TlsTransport(self._server.expect(made.append), self._tls)
        try:
            async with asyncio.timeout(self._intake.head_timeout):
                await self._loop.connect_accepted_socket(lambda: tls, accepted)
                await tls.handshake()
        except OSError:  # no TLS, no common version, gone, or too slow
            self._observer.rejected("handshake")
        finally:
            if not made:
                self._server.release(peer)
