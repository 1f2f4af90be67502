"""`Coalescer`: many callers, one round trip.

Checks that arrive while a call is in flight wait, and go together in the next one. A check waits no longer than the
deadline, whatever becomes of its call. A call that has missed a check's deadline is abandoned: it is not cancelled,
because its reply must not be left for the next caller to read, but nobody waits for it and the next call may go out.

What nobody waits for, such as settlements, goes out in the same calls: with the next checks, or without any.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from gateway.limits.bucket import Decision
from gateway.limits.charge import Demand
from gateway.redis.errors import StoreUnavailableError, unavailable

Check = Sequence[Demand]
Decide = Callable[[list[Check]], Awaitable[list[Decision | StoreUnavailableError]]]
_Waiting = tuple[Check, asyncio.Future[Decision]]

_MAX_CHECKS: Final = 128
"""In one call: a script that runs much longer than a millisecond holds up everybody else."""

_GATHERING: Final = 2
"""Iterations of the event loop between two calls, in which more checks gather. Without any, a check costs 10 % more."""

_STALL: Final = 0.002
"""Seconds: if the timer is this late, this process was busy or stopped, and the reply may lie unread in the socket."""

_EXTENSION: Final = 0.01
"""Seconds by which the deadline is then extended, once: a Redis that hangs as well gets no more than that."""


class Coalescer:
    """Collects checks and sends them together.

    Args:
        decide: Decides on a list of checks in one round trip. If it raises, none of them has a decision.
        deadline: Seconds that a check waits at most.
        has_more: Whether `decide` has something to send even without a check.
        unclaimed: Called with a check and its decision if nobody waits for it any more.
    """

    __slots__ = (
        "_call",
        "_calls",
        "_deadline",
        "_deadlines",
        "_decide",
        "_due",
        "_has_more",
        "_is_extended",
        "_loop",
        "_timer",
        "_unclaimed",
        "_waiting",
    )

    def __init__(
        self,
        decide: Decide,
        deadline: float,
        has_more: Callable[[], bool] = lambda: False,
        unclaimed: Callable[[Check, Decision], None] = lambda _check, _decision: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._decide = decide
        self._unclaimed = unclaimed
        self._has_more = has_more
        self._deadline = deadline
        self._waiting: list[_Waiting] = []
        self._deadlines: deque[tuple[float, asyncio.Future[Decision]]] = deque()
        self._call: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._is_extended = False
        self._due = 0.0  # when the timer is due; uvloop's own cannot say so when it is due at once
        self._timer: asyncio.Handle | None = None

    def submit(self, check: Check) -> asyncio.Future[Decision]:
        """Have a check decided.

        The future raises `StoreUnavailableError` if there is no decision before the deadline.
        """
        future: asyncio.Future[Decision] = self._loop.create_future()
        self._waiting.append((check, future))
        at = monotonic() + self._deadline  # the loop's own clock stands still during an iteration
        self._deadlines.append((at, future))
        if self._timer is None:
            self._due = at
            self._timer = self._loop.call_at(at, self._expire)
        self.send()
        return future

    def send(self) -> None:
        """Have what waits sent, with the next call if one is in flight."""
        if self._call is None:
            self._begin()

    def _begin(self) -> None:
        """Start a call. It goes out in the next iteration of the event loop, with all checks submitted in this one."""
        self._call = self._loop.create_task(self._run())
        self._calls.add(self._call)
        self._call.add_done_callback(self._calls.discard)

    async def _run(self) -> None:
        """Call as long as checks wait, or until this call has taken so long that another one was started."""
        this = self._call
        while this is self._call:
            # A check whose client has disconnected or whose deadline has passed is not charged.
            waiting = [waiting for waiting in self._waiting if not waiting[1].done()]
            batch, self._waiting = waiting[:_MAX_CHECKS], waiting[_MAX_CHECKS:]
            if not batch and not self._has_more():
                self._call = None
                return
            try:
                results = await self._decide([check for check, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, the callers that wait have to get it
                results = [unavailable(error)] * len(batch)
            self._is_extended = False
            for (check, future), result in zip(batch, results, strict=True):
                if isinstance(result, StoreUnavailableError):
                    if not future.done():
                        future.set_exception(result)
                elif future.done():
                    self._unclaimed(check, result)
                else:
                    future.set_result(result)
            for _ in range(_GATHERING):
                await asyncio.sleep(0)

    def _expire(self) -> None:
        now, deadlines = monotonic(), self._deadlines
        if now - self._due > _STALL and not self._is_extended:
            self._is_extended = True
            self._due = now + _EXTENSION
            self._timer = self._loop.call_at(self._due, self._expire)
            return
        is_late = False
        while deadlines and (deadlines[0][1].done() or deadlines[0][0] <= now):
            _, future = deadlines.popleft()
            if not future.done():
                is_late = True
                future.set_exception(
                    StoreUnavailableError(f"Redis did not answer within {self._deadline * 1000:.0f} ms")
                )
        self._timer = None
        if deadlines:
            self._due = deadlines[0][0]
            self._timer = self._loop.call_at(self._due, self._expire)
        if is_late:
            self._call = None
            if self._waiting:
                self._begin()

    async def close(self) -> None:
        """Send what waits, and cancel what takes longer than a check may."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._deadline)
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
