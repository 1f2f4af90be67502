"""`cancel_and_wait`: ends a background task that talks to Redis."""

import asyncio

_RETRY = 0.1
"""Seconds between two cancellations of the same task."""


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended.

    One cancellation may not be enough: before Python 3.12, `asyncio.wait_for`, which redis-py uses, can swallow it.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_RETRY)
