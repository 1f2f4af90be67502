"""Waiting for what happens, and saying how long that may take.

How fast a test's machine is at a moment is no property of the gateway. So whoever waits has a deadline that only a
failure meets, and from what has a bound in time is taken off what the machine held it up.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, process_time
from typing import Any

DEADLINE = 60.0
"""Seconds after which what has not happened does not happen."""

PATIENT = 5.0
"""Deadline, in seconds, of stores in tests that are not about deadlines."""

GOES = 5

_PAUSE = 0.01
_TICK = 0.01
_GRAIN = 0.01
"""Seconds that a timer may be late on a machine that has nothing else to do."""


async def until(condition: Callable[[], Any]) -> None:
    """Return as soon as a condition holds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for happens elsewhere, and has no event
            await asyncio.sleep(_PAUSE)


async def eventually(ask: Callable[[], Awaitable[Any]]) -> None:
    """Return as soon as the answer to a question is yes."""
    async with asyncio.timeout(DEADLINE):
        while not await ask():  # noqa: ASYNC110 - as above
            await asyncio.sleep(_PAUSE)


class TooSlowError(AssertionError):
    """What has a bound in time took longer."""


class Lag:
    """How long the machine holds up this process.

    Attributes:
        late: By which timers were late though nothing was computed: when, on the monotonic clock, and seconds.
    """

    def __init__(self) -> None:
        self.late: list[tuple[float, float]] = []
        self._began, self._used = monotonic(), process_time()

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            self._began, self._used = monotonic(), process_time()
            await asyncio.sleep(_TICK)
            self.look()

    def look(self) -> None:
        """Note by how much the timer is late, if it is; whoever asks may run before it does."""
        ended, used = monotonic(), process_time()
        if (late := ended - self._began - _TICK - (used - self._used)) > _GRAIN:
            self.late.append((ended, late))
            self._began, self._used = ended - _TICK, used

    @property
    def worst(self) -> float:
        """Seconds, at a time."""
        self.look()
        return max((late for _, late in self.late), default=0.0)

    def since(self, instant: float) -> float:
        """Seconds in sum, since an instant of the monotonic clock."""
        self.look()
        found = 0.0
        for ended, late in reversed(self.late):
            if ended < instant:
                break
            found += late
        return found


class Wait:
    """What passes from now on, for this process or another one."""

    def __init__(self, pid: int | None = None) -> None:
        self._schedstat = Path(f"/proc/{pid or os.getpid()}/schedstat")
        self._began, self._queued = monotonic(), self._read()

    def _read(self) -> float:
        try:
            return int(self._schedstat.read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return monotonic() - self._began

    @property
    def queued(self) -> float:
        """Seconds that its first thread could have run and had no processor; 0 where the kernel does not count."""
        return max(0.0, self._read() - self._queued)

    def held_up(self, lag: Lag) -> float:
        """Seconds that the machine held up this process: by its timers or by the kernel's count, whichever saw more."""
        return max(lag.since(self._began), self.queued)


@asynccontextmanager
async def lag() -> AsyncIterator[Lag]:
    """Measure while the block runs."""
    found = Lag()
    watching = asyncio.create_task(found.watch())
    try:
        yield found
    finally:
        found.look()
        watching.cancel()


@asynccontextmanager
async def at_most(seconds: float, *pids: int) -> AsyncIterator[None]:
    """Fail if the block takes longer, not counting what the machine held up this process and those others.

    Raises:
        TooSlowError: It did.
    """
    own, others = Wait(), [Wait(pid) for pid in pids]
    async with lag() as found:
        yield
    took = own.elapsed
    held_up = own.held_up(found) + sum(other.queued for other in others)
    if took - held_up > seconds:
        raise TooSlowError(f"{took:.3f} s, of which {held_up:.3f} s are the machine's; allowed are {seconds} s")


async def within(seconds: float, attempt: Callable[[], Awaitable[object]]) -> None:
    """Fail unless one of a few attempts takes at most so long: for what happens in several processes."""
    for left in reversed(range(GOES)):
        try:
            async with at_most(seconds):
                await attempt()
        except TooSlowError:
            if not left:
                raise
        else:
            return
