"""`Failover`: keeps an eye on the store in the background, and stands in for it while it is away.

A worker gives a sign of life every second, and so learns how many workers share the limits. While the store is away the
same call, every fifth of a second, is the probe: it reads and writes, so a store that is loading, read-only or full
does not pass for healthy; nor does one that answers later than checks wait for it.

When the store is back, three things happen before it decides again:

1. The worker's own buckets stop refilling, for the store's do.
2. What was spent without the store is charged to it.
3. The worker waits, half a second at most, for the others to have got as far: otherwise the first to come back would
   find in the store the tokens that the others have spent but not yet charged.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

from gateway.limiter.fallback import Fallback
from gateway.limiter.last_known import LastKnown
from gateway.limiter.standby import Observer
from gateway.limiter.verdict import Verdict
from gateway.limits.breaker import Breaker
from gateway.limits.bucket import Decision, Demand
from gateway.redis.background import end
from gateway.redis.clock import StoreClock, monotonic
from gateway.redis.port import StoreUnavailableError
from gateway.redis.store import Heartbeat, RedisStore

BEAT = 1.0
"""Seconds between two signs of life."""

PROBE = 0.2
"""Seconds between two probes."""

GRACE = 0.5
"""Seconds to wait at most for other workers that come back."""

SILENCE = 5_000_000
"""Microseconds after which a silent worker is struck off, and for which we must have been there to see its silence."""

_LOOK = 0.02
"""Seconds between two looks at who is back."""

_MOST_DEBTS = 500
"""Settled in one call."""


class Failover:
    """The standby of a shared store.

    Args:
        store: The store.
        clock: Its time.
        max_buckets: Buckets remembered, and as many decided on locally.
        workers: Workers of this gateway: the fleet is never taken for smaller.
        observer: Is told when the store goes and comes.

    Attributes:
        share: Decides while the store is away.
        seen: What the store last said.
    """

    def __init__(
        self, store: RedisStore, clock: StoreClock, *, max_buckets: int, workers: int, observer: Observer
    ) -> None:
        self.seen = LastKnown(max_buckets, clock)
        self.share = Fallback(self.seen, max_buckets)
        self.share.workers = workers
        self._store = store
        self._workers = workers
        self._observer = observer
        self._breaker = Breaker()
        self._name = uuid4().hex
        self._there_since: int | None = None
        self._was_there = False
        self._is_surveyed = False
        self._opened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> int:
        """See `LastKnown`."""
        return self.seen.epoch

    @property
    def evicted(self) -> int:
        """Buckets forgotten for want of room."""
        return self.seen.buckets.evicted + self.share.evicted

    @property
    def held(self) -> int:
        """Buckets in memory."""
        return len(self.seen.buckets) + len(self.share)

    @property
    def workers(self) -> int:
        """Workers that share the limits, as far as we know."""
        return self.share.workers

    @property
    def is_active(self) -> bool:
        """Whether the store is not to be asked."""
        return self._breaker.is_open

    def refuse(self, demands: Sequence[Demand]) -> Decision | None:
        """A refusal that the store is certain to give; None if it has to be asked."""
        return None if self._store.gives_back else self.seen.refuse(demands)

    def hear(self, demands: Sequence[Demand], decision: Decision, epoch: int) -> None:
        """Remember what the store said, if nothing was forgotten since it was asked."""
        self._breaker.succeed()
        if epoch == self.seen.epoch:
            self.seen.hear(demands, decision)

    def lose(self, why: StoreUnavailableError) -> None:
        """Note that the store gave no answer."""
        self._there_since = None
        if self._breaker.fail(monotonic()):
            self._opened.set()
            self._observer.store_lost(str(why))

    def decide(self, demands: Sequence[Demand]) -> Verdict:
        """Decide without the store."""
        return self.share.decide(demands)

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Do not refuse by memory. While the store is away, what is known of it is all there is, and stays."""
        if not self.is_active:
            self.seen.forget(keys)

    def refill(self, keys: Sequence[bytes]) -> None:
        """Take buckets for full."""
        self.seen.forget(keys)
        self.share.forget(keys)

    async def start(self) -> None:
        """Look at the store once, then go on in the background."""
        try:
            await self._beat()
        except StoreUnavailableError as why:
            self._breaker.open(monotonic())
            self._observer.store_lost(str(why))
        else:
            await self._survey()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _survey(self) -> None:
        self._is_surveyed = True
        for warning in await self._store.check_config():
            self._observer.store_warns(warning)

    async def close(self) -> None:
        """Charge what is left to charge, and leave the fleet."""
        if self._task is not None:
            await end(self._task)
        if not self.is_active:
            with suppress(StoreUnavailableError):
                await self._settle()
                await self._store.leave(self._name)

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE if self.is_active else BEAT):
                    await self._opened.wait()
            self._opened.clear()
            try:
                late = await self._beat_late()
                if self.is_active:
                    if late:
                        await self._insist()
                    await self._recover()
                    if not self._is_surveyed:
                        await self._survey()
                elif len(self.share):
                    await self._settle()
                    self.share.resume()
            except StoreUnavailableError as why:
                self.lose(why)

    async def _beat(self, since: int = 0) -> Heartbeat:
        is_settled = self._there_since is not None and monotonic() - self._there_since > SILENCE
        beat = await self._store.heartbeat(self._name, silence=SILENCE if is_settled else 0, since=since)
        # Others that came back later than we did, or a store that came back empty, do not make the fleet smaller.
        if is_settled or beat.workers > self.share.workers:
            self.share.workers = max(beat.workers, self._workers)
        if self._there_since is None:
            self._there_since = monotonic()
        if self._was_there and not beat.was_known and not self.is_active:
            self.seen.forget()  # the store has lost its data
        self._was_there = True
        return beat

    async def _beat_late(self) -> bool:
        """Whether the answer came later than checks wait for one."""
        began = monotonic()
        await self._beat()
        return monotonic() - began > self._store.deadline * 1_000_000

    async def _insist(self) -> None:
        """A store that is late would be lost again at once. But the first call may have had to connect."""
        if await self._beat_late():
            raise StoreUnavailableError("it answers too late")

    async def _recover(self) -> None:
        share, loop = self.share, asyncio.get_running_loop()
        share.freeze()
        try:
            await self._settle(touched=True)
            until = loop.time() + GRACE
            since = self.seen.clock() - int(2 * PROBE * 1_000_000)
            while (await self._beat(since)).present < share.workers and loop.time() < until:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK)
            await self._settle()
        except BaseException:
            share.thaw()
            raise
        # From here on without a pause, so that no decision falls in between. The store may have come back with less
        # than it had, so what was seen of it is worth nothing.
        self.seen.forget()
        share.resume()
        self._observer.store_back(self._breaker.close(monotonic()) / 1_000_000)

    async def _settle(self, *, touched: bool = False) -> None:
        for debts in self.share.owing(_MOST_DEBTS, touched=touched):
            answer = await self._store.settle(debts)
            for debt, owed in zip(debts, answer.owed, strict=True):
                self.share.settle(debt, owed)
