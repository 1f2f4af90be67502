"""Checks that wait together, on the loop that a worker has."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import uvloop

from gateway.stores.coalescer import Coalescer
from gateway.stores.port import StoreAwayError


def test_a_deadline_that_is_over_at_once_is_kept_and_so_is_the_next() -> None:
    """uvloop gives a timer that is due within half a millisecond no time to be asked for."""

    async def never(checks: Sequence[Any]) -> Any:
        await asyncio.Event().wait()
        return checks

    async def main() -> None:
        coalescer = Coalescer(never, 0.0001)
        for _ in range(3):
            async with asyncio.timeout(5):
                with pytest.raises(StoreAwayError):
                    await coalescer.ask([])
        await coalescer.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
