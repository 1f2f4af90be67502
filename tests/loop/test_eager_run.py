"""Coroutines that are run without a task: at once, in a context of their own, and cancelled like one."""

import asyncio
from contextvars import ContextVar

import pytest

from gateway.loop.eager_run import ensure_task, run_eagerly

NAME = ContextVar("NAME", default="outside")


async def test_what_has_to_wait_for_nothing_is_done_at_once() -> None:
    done = []

    async def steps() -> None:
        done.append(NAME.get())
        NAME.set("inside")

    assert run_eagerly(steps(), asyncio.get_running_loop()) is None
    assert done == ["outside"]
    assert NAME.get() == "outside"


async def test_it_goes_on_when_what_it_waits_for_is_done_in_its_own_context() -> None:
    loop, heard = asyncio.get_running_loop(), list[str]()
    first, second = loop.create_future(), loop.create_future()

    async def steps() -> None:
        NAME.set("inside")
        heard.append(await first)
        with pytest.raises(LookupError):
            await second
        heard.append(NAME.get())

    run = run_eagerly(steps(), loop)
    assert run is not None
    first.set_result("first")
    ending = asyncio.create_task(run.end(10.0))
    await asyncio.sleep(0)
    second.set_exception(LookupError("second"))
    await ending
    assert heard == ["first", "inside"]
    assert NAME.get() == "outside"


@pytest.mark.parametrize("in_a_task", [False, True])
async def test_one_that_does_not_end_in_time_is_cancelled(in_a_task: bool) -> None:
    loop, cancelled = asyncio.get_running_loop(), asyncio.Event()

    async def steps() -> None:
        if in_a_task:
            await asyncio.sleep(0)
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    run = run_eagerly(steps(), loop)
    assert run is not None
    await run.end(0.01)
    async with asyncio.timeout(10.0):
        await cancelled.wait()


async def test_what_needs_a_task_gets_one_once() -> None:
    loop, tasks = asyncio.get_running_loop(), list[asyncio.Task[None] | None]()

    async def steps() -> None:
        for _ in range(2):
            await ensure_task()
            async with asyncio.timeout(10.0):
                await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

    started = loop.create_future()
    loop.call_soon(lambda: started.set_result(run_eagerly(steps(), loop)))  # where there is no task, as in a protocol
    await (await started).end(10.0)
    assert tasks[0] is not None
    assert tasks[0] is tasks[1]
