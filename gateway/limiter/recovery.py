"""`Recovery`: what a limiter does in the background: heartbeats, probes, and handing decisions back to Redis.

A worker sends a heartbeat every second, with one of its polls (`gateway.redis.poller`), and learns from the reply how
many workers share the limits. While Redis is unavailable the same call, by itself and every fifth of a second, is the
probe. It reads and writes, so a Redis that is loading,
read-only or full does not pass for available; nor does one that replies later than checks wait for it.

When Redis is back, four things happen before it decides again:

1. The worker's own buckets stop refilling, for those in Redis do.
2. What was spent without Redis is charged to it, as far as it is more than the worker's own bucket holds.
3. The worker waits, half a second at most, until the others have done the same. Otherwise one worker could use up the
   room in Redis' bucket, and others would remain ahead by more than their share.
4. The rest is charged.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from gateway.limiter.breaker import Breaker
from gateway.limiter.fallback import Fallback
from gateway.limiter.last_known import LastKnown
from gateway.redis.client import Reply
from gateway.redis.clock import monotonic
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.poller import Poller, cancel_and_wait
from gateway.redis.scripts import Call
from gateway.redis.store import Heartbeat, RedisStore


class RedisObserver(Protocol):
    """What a limiter reports about Redis: one call for each change or round trip, none for each request.

    `gateway.telemetry` implements it, a room above this one.
    """

    def redis_misconfigured(self, warning: str) -> None:
        """Redis has a setting that may lose buckets or refuse writes."""

    def redis_answered(self, checks: int, seconds: float) -> None:
        """Redis decided on so many checks in one round trip."""

    def settlements_lost(self, count: int) -> None:
        """So many buckets stay charged with what was estimated for a request that has ended."""

    def redis_unavailable(self, reason: str) -> None:
        """From now on this worker decides without Redis."""

    def redis_still_unavailable(self, reason: str) -> None:
        """It is still unavailable, for a reason that has not been reported since it became so."""

    def redis_back(self, seconds: float) -> None:
        """This worker decides with Redis again, after so many seconds without."""


HEARTBEAT_INTERVAL = 1.0
"""Seconds."""

PROBE_INTERVAL = 0.2
"""Seconds."""

MAX_WAIT = 0.5
"""Seconds to wait for other workers that return."""

WORKER_EXPIRY = 4_000_000
"""Microseconds after which a silent worker is removed from the fleet, so that the requests in flight of one that died
count no longer than six seconds, heartbeats included. Only a worker that had Redis available for so long itself removes
others: it would have heard them."""

_PRESENCE_INTERVAL = 0.02
"""Seconds between two looks at which workers have returned."""

_BATCH_SIZE = 500
"""Debts charged in one call."""

_MAX_REASONS = 8
"""Reasons reported while Redis is unavailable once."""


class Recovery:
    """The background task of a `FailoverLimiter`.

    Args:
        store: The buckets in Redis.
        poller: Sends the heartbeats.
        breaker: Open while Redis is unavailable.
        last_known: What Redis last said of each bucket.
        fallback: Decides while Redis is unavailable.
        workers: Workers of this gateway: the fleet is never taken to be smaller.
        observer: Receives what happens to Redis.
        has_quotas: Whether a limit has a calendar quota at present.
    """

    def __init__(
        self,
        store: RedisStore,
        poller: Poller,
        breaker: Breaker,
        last_known: LastKnown,
        fallback: Fallback,
        *,
        workers: int,
        observer: RedisObserver,
        has_quotas: Callable[[], bool],
    ) -> None:
        fallback.workers = workers
        self._store = store
        self._breaker = breaker
        self._last_known = last_known
        self._fallback = fallback
        self._min_workers = workers
        self._observer = observer
        self._has_quotas = has_quotas
        self._name = store.slots.name
        self._available_since: int | None = None
        self._has_joined = False
        self._config_checked = False
        self._checked_for_quotas = False
        self._polled_at = 0
        self._polled: tuple[Reply, int] | None = None
        self._reasons: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        poller.subscribe(self._due_heartbeat, self._hear)

    async def start(self) -> None:
        """Send a first heartbeat, then go on in the background."""
        try:
            await self._send_heartbeat()
        except StoreUnavailableError as error:
            self._breaker.open(monotonic())
            self._begin_outage(str(error))
        else:
            await self._check_config()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Charge to Redis what is left to charge, and leave the fleet."""
        if self._task is not None:
            await cancel_and_wait(self._task)
        if not self._breaker.is_open:
            with suppress(StoreUnavailableError):
                await self._reconcile()
                await self._store.remove_worker(self._name)

    def record_failure(self, error: StoreUnavailableError) -> None:
        """Count a failure of Redis. The one that opens the breaker starts the probes. Each new reason is reported."""
        self._available_since = None
        if self._breaker.fail(monotonic()):
            self._wake.set()
            self._begin_outage(str(error))
        elif self._breaker.is_open and str(error) not in self._reasons and len(self._reasons) < _MAX_REASONS:
            self._reasons.add(str(error))
            self._observer.redis_still_unavailable(str(error))

    def _begin_outage(self, reason: str) -> None:
        self._reasons = {reason}
        self._fallback.begin()
        self._observer.redis_unavailable(reason)

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_INTERVAL if self._breaker.is_open else None):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if self._breaker.is_open:
                    # A Redis that is late would be unavailable again at once; but the first call may have connected.
                    if await self._is_heartbeat_late() and await self._is_heartbeat_late():
                        raise StoreUnavailableError("Redis answers, but later than the deadline of a check")  # noqa: TRY301
                    await self._recover()
                    if not self._config_checked:
                        await self._check_config()
                else:
                    await self._handle_polled()
            except StoreUnavailableError as error:
                self.record_failure(error)

    def _due_heartbeat(self) -> Call | None:
        """What to send with the next poll. None if the last heartbeat is recent, and while probes are sent instead."""
        now = monotonic()
        if self._breaker.is_open or now - self._polled_at < HEARTBEAT_INTERVAL * 1_000_000:
            return None
        self._polled_at = now
        return self._heartbeat()

    async def _hear(self, reply: Reply | None) -> None:
        """Hand a reply to the task that alone charges Redis for what was decided without it."""
        if reply is not None:
            self._polled = reply, self._polled_at
            self._wake.set()

    async def _handle_polled(self) -> None:
        polled, self._polled = self._polled, None
        if polled is not None:
            self._note(await self._store.hear_heartbeat(*polled))
            if not self._checked_for_quotas and self._has_quotas():  # a reload has brought the first
                await self._check_config()
            if len(self._fallback):
                await self._reconcile()
                self._fallback.hand_back()

    async def _is_heartbeat_late(self) -> bool:
        """Send a heartbeat; whether its reply came later than checks wait for one."""
        began = monotonic()
        await self._send_heartbeat()
        return monotonic() - began > self._store.deadline * 1_000_000

    async def _send_heartbeat(self, present_since: int = 0) -> int:
        """Tell Redis that this worker is alive. Returns how many workers were heard since an instant."""
        reply = await self._store.send_heartbeat(self._heartbeat(present_since))
        self._note(reply)
        return reply.present

    def _heartbeat(self, present_since: int = 0) -> Call:
        expiry = WORKER_EXPIRY if self._is_stable else 0
        return self._store.heartbeat(self._name, expiry=expiry, present_since=present_since)

    @property
    def _is_stable(self) -> bool:
        """Whether Redis has been available for so long that every other worker would have been heard."""
        return self._available_since is not None and monotonic() - self._available_since > WORKER_EXPIRY

    def _note(self, reply: Heartbeat) -> None:
        # Neither workers that return later than this one nor a Redis that lost its data make the fleet smaller.
        if self._is_stable or reply.workers > self._fallback.workers:
            self._fallback.workers = max(reply.workers, self._min_workers)
        if self._available_since is None:
            self._available_since = monotonic()
        if self._has_joined and not reply.was_known and not self._breaker.is_open:
            self._last_known.forget()  # Redis has lost its data
        self._has_joined = True

    async def _check_config(self) -> None:
        self._config_checked = True
        self._checked_for_quotas = self._has_quotas()
        for warning in await self._store.check_config(has_quotas=self._checked_for_quotas):
            self._observer.redis_misconfigured(warning)

    async def _recover(self) -> None:
        fallback, loop = self._fallback, asyncio.get_running_loop()
        fallback.freeze()
        try:
            self._store.slots.rewrite()  # which goes out with the heartbeats below, before anybody decides on them
            await self._reconcile(first=True)
            deadline = loop.time() + MAX_WAIT
            since = self._last_known.clock() - int(2 * PROBE_INTERVAL * 1_000_000)
            while await self._send_heartbeat(since) < fallback.workers and loop.time() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(_PRESENCE_INTERVAL)
            await self._reconcile()
            await self._reconcile()  # what was spent during the first
        except BaseException:
            fallback.thaw()
            raise
        # No await from here on, so that no decision falls in between. Redis may have come back with less than it had,
        # so what was known of it is worth nothing.
        self._last_known.forget()
        fallback.hand_back()
        self._store.slots.rewrite()  # what happened to its own requests meanwhile, Redis does not know
        self._store.send()
        self._observer.redis_back(self._breaker.close(monotonic()) / 1_000_000)

    async def _reconcile(self, *, first: bool = False) -> None:
        """Charge what was decided without Redis, see `Fallback.debts`."""
        for debts in self._fallback.debts(_BATCH_SIZE, first=first):
            owed = await self._store.reconcile(debts)
            for debt, before in zip(debts, owed, strict=True):
                self._fallback.reconcile(debt, before)
