"""`Poller`: a worker's one poll of Redis: a round trip for all subscribers every `POLL_INTERVAL`.

A subscriber that still works on the last reply is left out, so none of them holds up the others.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from gateway.redis.client import RedisClient, Reply
from gateway.redis.scripts import Call

POLL_INTERVAL = 0.25
"""Seconds between two polls: what one gateway writes is known to all others well within one second."""

_CANCEL_INTERVAL = 0.1
"""Seconds between two cancellations of the same task."""

Ask = Callable[[], Call | None]
Hear = Callable[[Reply | None], Coroutine[Any, Any, None]]


class _Subscriber:
    """What to ask, what handles the replies, and the handling of the last one."""

    __slots__ = ("ask", "hear", "task")

    def __init__(self, ask: Ask, hear: Hear) -> None:
        self.ask = ask
        self.hear = hear
        self.task: asyncio.Task[None] | None = None


class Poller:
    """Polls Redis while `polling` runs.

    Args:
        redis: Where to; None with the memory store, and then there is nothing to ask.
    """

    def __init__(self, redis: RedisClient | None) -> None:
        self._redis = redis
        self._subscribers: list[_Subscriber] = []

    def subscribe(self, ask: Ask, hear: Hear) -> None:
        """Add a subscriber.

        Args:
            ask: Returns the script to run with this poll; None if there is nothing to ask Redis.
            hear: Handles each reply, or why there is none; gets None if nothing was asked. It must not raise.
        """
        self._subscribers.append(_Subscriber(ask, hear))

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Poll while the block runs."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await cancel_and_wait(task)  # which starts no more tasks from here on
            for subscriber in self._subscribers:
                if subscriber.task is not None:
                    await cancel_and_wait(subscriber.task)

    async def _run(self) -> None:
        while True:
            await self._poll()
            await asyncio.sleep(POLL_INTERVAL)

    async def _poll(self) -> None:
        idle = [each for each in self._subscribers if each.task is None or each.task.done()]
        asked = [(each, each.ask()) for each in idle]
        calls = [call for _, call in asked if call is not None]
        replies = iter(await self._redis.run(calls) if self._redis is not None and calls else ())
        for each, call in asked:
            reply = next(replies) if call is not None else None
            each.task = asyncio.create_task(each.hear(reply))


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task that talks to Redis, and wait until it has ended.

    One cancellation may not be enough: before Python 3.12, `asyncio.wait_for`, which redis-py uses, can swallow it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_INTERVAL)
