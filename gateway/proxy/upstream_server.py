"""`UpstreamServer`: one URL of an upstream, its idle connections, and the probes that take it back after a failure."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.proxy.server_health import ServerHealth
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError
from gateway.settings.url import Origin

Probe = Callable[[Origin], Awaitable[None]]
"""Tries whether a server works; raises a ForwardError if it does not."""


class UpstreamServer:
    """One server of an upstream.

    Args:
        origin: Its URL.
        first_pause: Seconds until the first probe after a failure.

    Attributes:
        origin: As above.
        idle: Connections that are not in use; the one used last is taken first.
        health: Whether requests go to it.
        reachable: Whether the last attempt to connect succeeded.
    """

    __slots__ = ("_probing", "health", "idle", "origin", "reachable")

    def __init__(self, origin: Origin, first_pause: float) -> None:
        self.origin = origin
        self.idle: list[UpstreamConnection] = []
        self.health = ServerHealth(first_pause)
        self.reachable = True
        self._probing: asyncio.Task[None] | None = None

    def leave_out(self, loop: asyncio.AbstractEventLoop, probe: Probe, on_back: Callable[[float], None]) -> None:
        """Send no requests until a probe succeeds; `on_back` gets the seconds that this took."""
        self.health.leave_out(loop.time())
        self.close_idle()
        self._probing = loop.create_task(self._probe_until_back(loop, probe, on_back))

    def close_idle(self) -> None:
        """Close the idle connections."""
        while self.idle:
            self.idle.pop().close()

    def close(self) -> None:
        """Close the idle connections, and probe no more."""
        self.close_idle()
        if self._probing is not None:
            self._probing.cancel()

    async def _probe_until_back(
        self, loop: asyncio.AbstractEventLoop, probe: Probe, on_back: Callable[[float], None]
    ) -> None:
        while not self.health.usable:
            await asyncio.sleep(self.health.pause)
            try:
                await probe(self.origin)
            except ForwardError:
                self.health.probe_failed()
            else:
                on_back(self.health.take_back(loop.time()))
