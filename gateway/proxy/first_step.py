"""`run_first_step`: begins a coroutine at once, and makes a task only of what is left of it when it has to wait.

A task begins in the next iteration of the event loop. Most refusals need nothing that they would have to wait for, so
they are written without a task, in the iteration in which the request was read; a request that waits for Redis has
asked it by then. (Python 3.12 has eager tasks for this.)
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any


def run_first_step(steps: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
    """Run a coroutine until it has to wait. Returns a task for the rest of it; None if there is none."""
    context = copy_context()
    try:
        awaited = context.run(steps.send, None)
    except StopIteration:
        return None
    return loop.create_task(_run_rest(steps, awaited), context=context)


@coroutine
def _run_rest(steps: Coroutine[Any, Any, None], awaited: object) -> Generator[Any, Any, None]:
    """Do what `yield from` does for a coroutine that waits already."""
    while True:
        try:
            try:
                yield awaited
            except BaseException as error:  # noqa: BLE001 - a cancellation, for example
                awaited = steps.throw(error)
            else:
                awaited = steps.send(None)
        except StopIteration:
            return


async def ensure_task() -> None:
    """Have a task run what follows: only in a task can `asyncio.timeout` be used."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
