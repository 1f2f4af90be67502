"""`UpstreamServer`: one URL of an upstream, its idle connections, and the probes that take it back after a failure."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.proxy.server_health import ServerHealth
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.proxy.upstream_response import ForwardError
from gateway.settings.upstream import HealthCheck
from gateway.settings.url import Origin

OnFailed = Callable[[ForwardError], None]
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

    __slots__ = ("_checking", "_probing", "health", "idle", "origin", "reachable")

    def __init__(self, origin: Origin, first_pause: float) -> None:
        self.origin = origin
        self.idle: list[UpstreamConnection] = []
        self.health = ServerHealth(first_pause)
        self.reachable = True
        self._probing: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None

    def check(self, loop: asyncio.AbstractEventLoop, probe: Probe, settings: HealthCheck, on_failed: OnFailed) -> None:
        """Check the server again and again while it gets requests; `on_failed` gets what failed too often in a row."""
        self._checking = loop.create_task(self._keep_checking(probe, settings, on_failed))

    def leave_out(self, loop: asyncio.AbstractEventLoop, probe: Probe, on_back: Callable[[float], None]) -> None:
        """Send no requests until a probe succeeds; `on_back` gets the seconds that this took."""
        self.health.leave_out(loop.time())
        self.close_idle()
        self._probing = loop.create_task(self._probe_until_back(loop, probe, on_back))

    def close_idle(self, host: str | None = None) -> None:
        """Close the idle connections, all or those to one address."""
        closing = [connection for connection in self.idle if host in {None, connection.host}]
        self.idle = [connection for connection in self.idle if connection not in closing]
        for connection in closing:
            connection.close()

    def close(self) -> None:
        """Close the idle connections, and probe no more."""
        self.close_idle()
        for task in (self._probing, self._checking):
            if task is not None:
                task.cancel()

    async def _probe_until_back(
        self, loop: asyncio.AbstractEventLoop, probe: Probe, on_back: Callable[[float], None]
    ) -> None:
        while not self.health.usable:
            await asyncio.sleep(self.health.pause)
            try:
                await probe(self.origin)
            except Exception:  # noqa: BLE001 - whatever it was, the next probe may succeed
                self.health.probe_failed()
            else:
                on_back(self.health.take_back(loop.time()))

    async def _keep_checking(self, probe: Probe, settings: HealthCheck, on_failed: OnFailed) -> None:
        failures = 0
        while True:
            await asyncio.sleep(settings.every)
            if not self.health.usable:
                failures = 0  # it is probed until it works
                continue
            try:
                await probe(self.origin)
            except ForwardError as error:
                failures += 1
                if failures >= settings.failures:
                    failures = 0
                    on_failed(error)
            else:
                failures = 0
