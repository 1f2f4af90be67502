"""`run_eagerly`: runs a coroutine from now on, not from the next iteration of the event loop.

A refusal seldom needs anything that it would have to wait for: it is written in the iteration in which the request was
read. A request that waits for Redis has asked it by then. Nor is there a task unless one is needed, since making one
costs as much as a twentieth of a request. (The eager tasks of Python 3.12 are tasks.)
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextvars import Context, copy_context
from typing import Any, Final

_OVER: Final[Any] = object()
"""In place of what the coroutine waits for, when it has ended: to raise StopIteration costs more than the call."""


def run_eagerly(steps: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> "EagerRun | None":
    """Run a coroutine until it has to wait. Returns what runs the rest of it; None if there is none.

    Args:
        steps: The coroutine. It may await futures only, until it awaits `ensure_task`.
        loop: The event loop.
    """
    context = copy_context()
    rest = steps.__await__()
    awaited = context.run(next, rest, _OVER)
    return None if awaited is _OVER else EagerRun(steps, rest, awaited, context, loop)


class EagerRun:
    """Runs the rest of a coroutine, each part when the future is done for which the coroutine waits.

    Args:
        steps: The coroutine.
        rest: Gives what it waits for next.
        awaited: What it waits for now.
        context: The context in which it runs.
        loop: The event loop.
    """

    __slots__ = ("_awaited", "_context", "_ended", "_is_over", "_loop", "_rest", "_steps", "_task")

    def __init__(
        self,
        steps: Coroutine[Any, Any, None],
        rest: Iterator[Any],
        awaited: asyncio.Future[Any] | None,
        context: Context,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._steps = steps
        self._rest = rest
        self._context = context
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._is_over = False
        self._wait(awaited)

    def _wait(self, awaited: asyncio.Future[Any] | None) -> None:
        self._awaited = awaited
        if awaited is not None:
            awaited.add_done_callback(self._go_on, context=self._context)
        else:
            self._task = self._loop.create_task(self._steps, context=self._context)
            self._task.add_done_callback(self._end)

    def _go_on(self, _: asyncio.Future[Any]) -> None:
        try:
            awaited = next(self._rest, _OVER)
        except asyncio.CancelledError:
            awaited = _OVER
        if awaited is _OVER:
            self._end(None)
        else:
            self._wait(awaited)

    def _end(self, _: asyncio.Future[Any] | None) -> None:
        self._is_over = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def cancel(self) -> None:
        """Have the coroutine raise CancelledError where it waits."""
        waiting = self._task or self._awaited
        if waiting is not None and not self._is_over:
            waiting.cancel()

    async def end(self, seconds: float) -> None:
        """Give the coroutine so many seconds to end, then cancel it."""
        if not self._is_over:
            self._ended = self._loop.create_future()
            await asyncio.wait([self._ended], timeout=seconds)
            self.cancel()


async def ensure_task() -> None:
    """Have a task run what follows: `asyncio.timeout`, for one, works in tasks only."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
