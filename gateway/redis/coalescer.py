"""`Coalescer`: many callers, one round trip.

Checks that arrive while a call is in flight wait and go together in the next one. A check waits no longer than the
deadline, whatever becomes of its call. A call that has let a check down is abandoned: it is not cancelled (its answer
has to be read by somebody, or by nobody), but nobody waits for it any more and the next call may go out.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from gateway.limits.bucket import Decision, Demand
from gateway.redis.port import StoreUnavailableError, unavailable

Check = Sequence[Demand]
Decide = Callable[[list[Check]], Awaitable[list[Decision | StoreUnavailableError]]]
_Waiting = tuple[Check, asyncio.Future[Decision]]

_MOST_CHECKS = 128
"""In one call: a script that runs much longer than a millisecond keeps everybody else waiting."""

_TURNS = 2
"""Turns of the loop between two calls, in which more checks gather. None at all costs a tenth more in all."""

_STALL = 0.002
"""Seconds: a timer this late says that we were busy or stopped, and the answer may lie unread in the socket."""

_INDULGENCE = 0.01
"""Seconds for which we then go on waiting, once: a Redis that hangs as well is not waited for any longer."""


class Coalescer:
    """Collects checks and sends them together.

    Args:
        decide: Decides a list of checks in one round trip. An error is no answer to any of them.
        deadline: Seconds a check waits at most.
    """

    __slots__ = (
        "_call",
        "_calls",
        "_deadline",
        "_deadlines",
        "_decide",
        "_due",
        "_is_indulged",
        "_timer",
        "_waiting",
    )

    def __init__(self, decide: Decide, deadline: float) -> None:
        self._decide = decide
        self._deadline = deadline
        self._waiting: list[_Waiting] = []
        self._deadlines: deque[tuple[float, asyncio.Future[Decision]]] = deque()
        self._call: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._is_indulged = False
        self._due = 0.0  # of the timer, which does not always know: uvloop's has no time when it is due at once
        self._timer: asyncio.Handle | None = None

    def ask(self, check: Check) -> asyncio.Future[Decision]:
        """Have a check decided. Raises `StoreUnavailableError` if there is no decision before the deadline."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Decision] = loop.create_future()
        self._waiting.append((check, future))
        at = monotonic() + self._deadline  # the loop's own clock stands while its turn lasts
        self._deadlines.append((at, future))
        if self._timer is None:
            self._due = at
            self._timer = loop.call_at(at, self._expire)
        if self._call is None:
            self._begin()
        return future

    def _begin(self) -> None:
        """Make a call. It goes out in the next turn of the loop: whoever is ready in this one comes along."""
        self._call = asyncio.get_running_loop().create_task(self._run())
        self._calls.add(self._call)
        self._call.add_done_callback(self._calls.discard)

    async def _run(self) -> None:
        """Call as long as somebody waits, or until it has taken so long that another call was made."""
        this = self._call
        while this is self._call:
            # Who has gone away or given up is not charged.
            waiting = [waiting for waiting in self._waiting if not waiting[1].done()]
            batch, self._waiting = waiting[:_MOST_CHECKS], waiting[_MOST_CHECKS:]
            if not batch:
                self._call = None
                return
            try:
                answers = await self._decide([check for check, _ in batch])
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
                answers = [unavailable(error)] * len(batch)
            self._is_indulged = False
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, StoreUnavailableError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now, deadlines = monotonic(), self._deadlines
        if now - self._due > _STALL and not self._is_indulged:
            self._is_indulged = True
            self._due = now + _INDULGENCE
            self._timer = loop.call_at(self._due, self._expire)
            return
        is_late = False
        while deadlines and (deadlines[0][1].done() or deadlines[0][0] <= now):
            _, future = deadlines.popleft()
            if not future.done():
                is_late = True
                future.set_exception(StoreUnavailableError(f"no answer within {self._deadline * 1000:.0f} ms"))
        self._timer = None
        if deadlines:
            self._due = deadlines[0][0]
            self._timer = loop.call_at(self._due, self._expire)
        if is_late:
            self._call = None
            if self._waiting:
                self._begin()

    async def close(self) -> None:
        """Give up all calls in flight."""
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
