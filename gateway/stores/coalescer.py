"""Checks that wait for the store together travel together.

One call is under way at a time. Checks that arrive meanwhile wait, and go into the next call: the busier the gateway,
the less a check costs, and no check waits for a timer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.limits.bucket import Decision, Demand
from gateway.stores.port import StoreAwayError

Batch = list[Sequence[Demand]]


class _Waiting(NamedTuple):
    demands: Sequence[Demand]
    decision: asyncio.Future[Decision]
    since: float


class Coalescer:
    """Gathers checks into calls.

    Args:
        decide: Decides on several checks in one call, in order.
        deadline: Seconds that a check may wait, from when it was asked. A call that takes longer is given up, and so
            are all checks that wait behind it: a store that hangs holds nobody for longer.
        most: Checks in one call at most.
    """

    __slots__ = ("_deadline", "_decide", "_loop", "_most", "_task", "_waiting")

    def __init__(self, decide: Callable[[Batch], Awaitable[list[Decision]]], deadline: float, most: int = 256) -> None:
        self._loop = asyncio.get_running_loop()
        self._decide = decide
        self._deadline = deadline
        self._most = most
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def take(self, demands: Sequence[Demand]) -> Decision:
        """The store's decision on one check.

        Whoever asks may go away at any time: its check is decided all the same, and nobody else reads its answer.

        Raises:
            StoreAwayError: there was no decision in time.
        """
        decision: asyncio.Future[Decision] = self._loop.create_future()
        self._waiting.append(_Waiting(demands, decision, self._loop.time()))
        if self._task is None:
            self._task = self._loop.create_task(self._work())
        return await decision

    async def close(self) -> None:
        """Let the call under way finish, or its deadline pass."""
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                try:
                    async with asyncio.timeout_at(batch[0].since + self._deadline):
                        decisions = await self._decide([waiting.demands for waiting in batch])
                except (StoreAwayError, TimeoutError) as error:
                    reason = str(error) or f"no answer within {self._deadline * 1000:.0f} ms"
                    self._give_up(batch, reason)
                else:
                    for waiting, decision in zip(batch, decisions, strict=True):
                        if not waiting.decision.done():
                            waiting.decision.set_result(decision)
        finally:
            self._task = None

    def _give_up(self, batch: list[_Waiting], reason: str) -> None:
        waiting, self._waiting = batch + self._waiting, []
        for one in waiting:
            if not one.decision.done():
                one.decision.set_exception(StoreAwayError(reason))
