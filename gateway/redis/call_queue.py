"""`CallQueue`: many callers of scripts, one round trip at a time, so that none needs a connection of its own."""

import asyncio
from collections import deque

from gateway.redis.client import RedisClient, Reply
from gateway.redis.errors import unavailable
from gateway.redis.scripts import Call

_MOST = 64
"""Calls in one round trip."""


class CallQueue:
    """Sends what has gathered while the calls before were in flight.

    Args:
        client: Runs the scripts.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._waiting: deque[tuple[Call, asyncio.Future[Reply]]] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def run(self, call: Call) -> Reply:
        """Run a script. The reply is a `StoreUnavailableError` if it may or may not have been executed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._waiting.append((call, future))
        if self._sending is None:
            self._sending = loop.create_task(self._send())
        return await future

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST))]
            try:
                replies = await self._client.run([call for call, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, the callers that wait have to get it
                replies = [unavailable(error)] * len(batch)
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)
        self._sending = None
