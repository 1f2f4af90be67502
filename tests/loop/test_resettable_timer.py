"""A moment by which something has to have happened, on the loop that a worker has."""

import asyncio

import uvloop

from gateway.loop.resettable_timer import ResettableTimer


def test_a_deadline_can_be_moved_nearer_however_near_it_was() -> None:
    """uvloop gives a timer that is due within half a millisecond no time to be asked for."""

    async def main() -> None:
        over = asyncio.Event()
        deadline = ResettableTimer(asyncio.get_running_loop(), over.set)
        for seconds in (10.0, 0.0002, 0.0001):
            deadline.set(seconds)
        async with asyncio.timeout(5):
            await over.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
