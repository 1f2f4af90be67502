"""Checks that wait together, on the loop that a worker has."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import uvloop

from gateway.redis.coalescer import Coalescer
from gateway.redis.errors import StoreUnavailableError
from tests.waiting import DEADLINE


def test_a_deadline_that_expires_at_once_is_kept_and_so_is_the_next() -> None:
    """uvloop gives a timer that is due within half a millisecond no time to be asked for."""

    async def never(checks: Sequence[Any]) -> Any:
        await asyncio.Event().wait()
        return checks

    async def main() -> None:
        coalescer = Coalescer(never, 0.0001)
        for _ in range(3):
            async with asyncio.timeout(5):
                with pytest.raises(StoreUnavailableError):
                    await coalescer.submit([])
        await coalescer.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_an_error_fails_the_check_and_the_next_one_is_sent_at_once() -> None:
    asked = 0

    async def fail_once(checks: Sequence[Any]) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise LookupError("a fault of ours")
        return [StoreUnavailableError("heard") for _ in checks]

    coalescer = Coalescer(fail_once, DEADLINE)
    with pytest.raises(StoreUnavailableError, match="LookupError: a fault of ours"):
        await coalescer.submit([])
    with pytest.raises(StoreUnavailableError, match="heard"):
        await coalescer.submit([])
    await coalescer.close()
