"""`Confirmation`: takes rules back that nobody has confirmed in time.

Every worker of every gateway has its own, and goes by what is on disk: a worker or a gateway that dies keeps none from
returning, and one that starts later heeds the deadline, too. How long it is, whoever reloads says: `confirm_within`,
whose bounds are in `api`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.auth.timestamps import now
from gateway.control.errors import ControlError
from gateway.control.reload.revisions import Revisions
from gateway.telemetry.log import Log

_INTERVAL = 0.5
"""Seconds between two looks at what is in force."""

_RETRY = 10.0
"""Seconds after which it is tried again to return."""


class Confirmation:
    """Sees to the deadline.

    Args:
        revisions: Say what has to be confirmed.
        take_back: Puts the revision before in force, unless another worker has done so.
        log: Of this process.
    """

    def __init__(self, revisions: Revisions, take_back: Callable[[], Awaitable[None]], log: Log) -> None:
        self._revisions = revisions
        self._take_back = take_back
        self._log = log
        self._is_damaged = False

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """See to it while the block runs."""
        await self._look()
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - it has to be tried again
                self._log.failure("reload_failed", error)
                await asyncio.sleep(_RETRY)

    async def _look(self) -> None:
        try:
            pending = (await asyncio.to_thread(self._revisions.refresh)).pending
            if pending is not None and pending.deadline <= now():
                await self._take_back()
            self._is_damaged = False
        except ControlError as error:
            if not self._is_damaged:  # once
                self._log.event("revisions_unavailable", level="error", why=str(error))
            self._is_damaged = True
