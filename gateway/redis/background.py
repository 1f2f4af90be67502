"""Ending what runs in the background."""

import asyncio

_AGAIN = 0.1


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it has ended.

    It is cancelled again and again: `asyncio.wait_for`, which redis-py uses, may swallow a cancellation before Python
    3.12.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_AGAIN)
