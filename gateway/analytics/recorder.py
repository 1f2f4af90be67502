"""`Recorder`: has what was counted written, in the background. No request waits for it.

What is cut from the roll-up goes into a bounded buffer, and from there to the shelf, one batch after the other, the
oldest first. A shelf that is slow or away keeps the buffer from getting empty, and nothing else: a batch that does not
fit any more is dropped, and the requests in it are counted as lost.
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
"""Seconds between two looks at the clock."""

_SPREAD = 5.0
"""Seconds over which the workers of all gateways spread what they write at the end of a minute."""

_LONGEST_PAUSE = 10.0
_LAST_WORDS = 3.0
"""Seconds at the end in which what is left may still be written."""


class Observer(Protocol):
    """Is told what becomes of what was counted."""

    def analytics_written(self, requests: int) -> None:
        """So many decided requests have been written."""

    def analytics_lost(self, requests: int) -> None:
        """So many are lost."""

    def analytics_unavailable(self, reason: str) -> None:
        """From now on nothing can be written."""

    def analytics_back(self, batches: int) -> None:
        """It can again; so many batches were held meanwhile."""

    def analytics_failed(self, error: Exception) -> None:
        """It cannot, for a reason nobody foresaw."""

    def analytics_incomplete(self, requests: int) -> None:
        """The end has come, and so many requests could not be written."""


class Recorder:
    """Writes what a roll-up counts.

    Args:
        rollup: Counts.
        shelf: Keeps.
        observer: Is told.
        interval: Seconds after which what was counted is written, the minute over or not.
        buffer: Rows that may wait.
        clock: The time, in seconds since 1970.
    """

    def __init__(
        self,
        rollup: Rollup,
        shelf: Sink,
        observer: Observer,
        *,
        interval: float,
        buffer: int,
        clock: Callable[[], float],
    ) -> None:
        self._rollup = rollup
        self._shelf = shelf
        self._observer = observer
        self._interval = interval
        self._buffer = buffer
        self._clock = clock
        self._waiting: deque[Batch] = deque()
        self._rows = 0
        self._is_away = False
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def waiting(self) -> int:
        """Rows that wait to be written."""
        return self._rows

    def start(self) -> None:
        """Begin to look at the clock, and to write."""
        self._tasks = [asyncio.create_task(self._watch_clock()), asyncio.create_task(self._write_on())]

    async def close(self) -> None:
        """Write what is left, for three seconds at most, and count the rest as lost."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                while self._waiting and await self._write():
                    pass
        lost = sum(batch.requests for batch in self._waiting)
        if lost:
            self._observer.analytics_lost(lost)
            self._observer.analytics_incomplete(lost)
        await self._shelf.close()

    def cut(self) -> None:
        """Put what was counted so far into the buffer, or count it as lost."""
        batch = self._rollup.cut(self._clock())
        if batch is None:
            return
        if self._rows + batch.size > self._buffer:
            self._observer.analytics_lost(batch.requests)
            return
        self._waiting.append(batch)
        self._rows += batch.size
        self._arrived.set()

    async def _watch_clock(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while True:
            await asyncio.sleep(min(_TICK, self._interval))
            if loop.time() >= due or self._rollup.is_due(self._clock()):
                self.cut()
                due = loop.time() + self._interval

    async def _write_on(self) -> None:
        pause = 1.0
        while True:
            await self._arrived.wait()
            if not self._is_away:
                await asyncio.sleep(random.uniform(0, min(_SPREAD, self._interval / 2)))  # noqa: S311 - no secret
            self._arrived.clear()
            while self._waiting:
                if await self._write():
                    pause = 1.0
                else:
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - the same
                    pause = min(_LONGEST_PAUSE, pause * 2)

    async def _write(self) -> bool:
        """Write the oldest batch. Whether that went well."""
        batch = self._waiting[0]
        try:
            await self._shelf.put(batch)
        except SinkUnavailableError as why:
            if not self._is_away:
                self._observer.analytics_unavailable(str(why))
            self._is_away = True
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may go well
            if not self._is_away:
                self._observer.analytics_failed(error)
            self._is_away = True
            return False
        if self._is_away:
            self._observer.analytics_back(len(self._waiting))
        self._is_away = False
        self._waiting.popleft()
        self._rows -= batch.size
        self._observer.analytics_written(batch.requests)
        return True
