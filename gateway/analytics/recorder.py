"""`Recorder`: writes what a roll-up counts, in the background. No request waits for it.

Batches cut from the roll-up go into a bounded buffer, and from there to the sink, one at a time, the oldest first. If
the sink is slow or unavailable, the buffer fills; a batch that does not fit is dropped, and its requests are lost.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from gateway.analytics.batch import Batch
from gateway.analytics.rollup import Rollup
from gateway.analytics.sink import Sink, SinkUnavailableError

_TICK = 1.0
"""Seconds between two checks whether the minute is over."""

_SPREAD = 5.0
"""Seconds over which the workers of all gateways spread their writes after the end of a minute."""

_MAX_PAUSE = 10.0
_FLUSH_TIMEOUT = 3.0
"""Seconds for which batches are still written when the worker exits."""


class AnalyticsObserver(Protocol):
    """What a recorder reports. `gateway.telemetry` implements it, a room that analytics must not import."""

    def analytics_written(self, requests: int) -> None:
        """So many decided requests were written."""

    def analytics_lost(self, requests: int) -> None:
        """So many decided requests will not be written."""

    def analytics_unavailable(self, reason: str) -> None:
        """From now on the sink cannot be written to."""

    def analytics_back(self, batches: int) -> None:
        """The sink can be written to again; so many batches are waiting."""

    def analytics_failed(self, error: Exception) -> None:
        """Writing failed with an unexpected error."""

    def analytics_incomplete(self, requests: int) -> None:
        """The worker exits, and could not write so many requests."""


class Recorder:
    """Writes what a roll-up counts.

    Args:
        rollup: Counts decisions.
        sink: Stores batches.
        observer: Receives what happens to them.
        interval: Seconds after which counts are written, whether the minute is over or not.
        buffer: Rows that may wait.
        clock: Returns the time in seconds since 1970.
    """

    def __init__(
        self,
        rollup: Rollup,
        sink: Sink,
        observer: AnalyticsObserver,
        *,
        interval: float,
        buffer: int,
        clock: Callable[[], float],
    ) -> None:
        self._rollup = rollup
        self._sink = sink
        self._observer = observer
        self._interval = interval
        self._buffer = buffer
        self._clock = clock
        self._waiting: deque[Batch] = deque()
        self._rows = 0
        self._is_failing = False
        self._batch_added = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """Rows waiting to be written."""
        return self._rows

    def start(self) -> None:
        """Start to cut batches, and to write them."""
        self._tasks = [asyncio.create_task(self._keep_cutting()), asyncio.create_task(self._keep_writing())]

    async def close(self) -> None:
        """Write what is waiting, for three seconds at most, and count the rest as lost."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_TIMEOUT):
                while self._waiting and await self._write():
                    pass
        lost = sum(batch.requests for batch in self._waiting)
        if lost:
            self._observer.analytics_lost(lost)
            self._observer.analytics_incomplete(lost)
        await self._sink.close()

    def cut(self) -> None:
        """Move what was counted so far into the buffer, or count it as lost if it does not fit."""
        batch = self._rollup.cut(self._clock())
        if batch is None:
            return
        if self._rows + batch.size > self._buffer:
            self._observer.analytics_lost(batch.requests)
            return
        self._waiting.append(batch)
        self._rows += batch.size
        self._batch_added.set()

    async def _keep_cutting(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while True:
            await asyncio.sleep(min(_TICK, self._interval))
            if loop.time() >= due or self._rollup.is_due(self._clock()):
                self.cut()
                due = loop.time() + self._interval

    async def _keep_writing(self) -> None:
        pause = 1.0
        while True:
            await self._batch_added.wait()
            if not self._is_failing:
                await asyncio.sleep(random.uniform(0, min(_SPREAD, self._interval / 2)))  # noqa: S311 - no secret
            self._batch_added.clear()
            while self._waiting:
                if await self._write():
                    pause = 1.0
                else:
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                    pause = min(_MAX_PAUSE, pause * 2)

    async def _write(self) -> bool:
        """Write the oldest batch. Returns whether that succeeded."""
        batch = self._waiting[0]
        try:
            await self._sink.put(batch)
        except SinkUnavailableError as error:
            if not self._is_failing:
                self._observer.analytics_unavailable(str(error))
            self._is_failing = True
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may succeed
            if not self._is_failing:
                self._observer.analytics_failed(error)
            self._is_failing = True
            return False
        if self._is_failing:
            self._observer.analytics_back(len(self._waiting))
        self._is_failing = False
        self._waiting.popleft()
        self._rows -= batch.size
        self._observer.analytics_written(batch.requests)
        return True
