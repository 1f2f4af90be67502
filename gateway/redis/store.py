"""`RedisStore`: buckets in Redis, shared by every worker of every gateway."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.limits.bucket import Decision, Demand, judge
from gateway.redis.client import RedisClient, Reply
from gateway.redis.clock import StoreClock, monotonic
from gateway.redis.coalescer import Check, Coalescer
from gateway.redis.config_check import check_config
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call, Debt, call_heartbeat, call_reconcile, call_take


class Heartbeat(NamedTuple):
    """The reply to a worker's heartbeat.

    Attributes:
        workers: Workers in the fleet.
        present: Those of them heard since the instant that was asked about.
        was_known: Whether this worker was in the fleet before; False also after Redis lost its data.
    """

    workers: int
    present: int
    was_known: bool


class RedisStore:
    """Buckets on one Redis server, or on the master of several.

    Args:
        client: Runs the scripts; whoever opened it closes it, after the store.
        clock: Updated with Redis' time from each reply.
        prefix: What our keys start with.
        deadline: Seconds that a check waits at most.
        on_reply: Called after each round trip with the number of checks in it and the seconds it took.

    Attributes:
        deadline: As given.
        refunds: Whether what a bucket owes can shrink other than by time.
    """

    refunds = False

    def __init__(
        self,
        client: RedisClient,
        clock: StoreClock,
        *,
        prefix: str,
        deadline: float,
        on_reply: Callable[[int, float], None] = lambda _checks, _seconds: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._buckets = f"{prefix}:bucket:".encode()
        self._fleet = f"{prefix}:fleet".encode()
        self._coalescer = Coalescer(self._decide, deadline)
        self.deadline = deadline
        self._on_reply = on_reply

    def take(self, demands: Sequence[Demand]) -> Awaitable[Decision]:
        """Charge all enforced demands or none, in one round trip with whatever other checks wait.

        Raises:
            StoreUnavailableError: there is no decision; the demands may or may not have been charged.
        """
        return self._coalescer.submit(demands)

    async def _decide(self, checks: list[Check]) -> list[Decision | StoreUnavailableError]:
        began = monotonic()
        decisions = await self._run(checks)
        self._on_reply(len(checks), (monotonic() - began) / 1_000_000)
        return decisions

    async def _run(self, checks: list[Check]) -> list[Decision | StoreUnavailableError]:
        sent = monotonic()
        (reply,) = await self._client.run([call_take(self._buckets, checks, self._clock())])
        return self._read(checks, reply, sent)

    def _read(self, checks: Sequence[Check], reply: Reply, sent: int) -> list[Decision | StoreUnavailableError]:
        """Decisions from a reply of take.lua, by the law that it mirrors."""
        if isinstance(reply, StoreUnavailableError):
            return [reply] * len(checks)
        now = reply[0]
        self._clock.update(now, sent)
        decisions: list[Decision | StoreUnavailableError] = []
        at = 1
        for demands in checks:
            end = at + len(demands)
            decisions.append(judge(demands, reply[at:end], now))
            at = end
        return decisions

    async def reconcile(self, debts: Sequence[Debt]) -> Sequence[int]:
        """Charge what was decided without Redis, each bucket at most once.

        Returns:
            What each bucket owed before, in microseconds, in the order of the debts.

        Raises:
            StoreUnavailableError: some of it may or may not have been charged.
        """
        (reply,) = await self._client.run([call_reconcile(self._buckets, debts)])
        if isinstance(reply, StoreUnavailableError):
            raise reply
        return reply[1:]

    def heartbeat(self, worker: str, *, expiry: int, present_since: int = 0) -> Call:
        """The call that records that a worker is alive; `hear_heartbeat` handles its reply.

        Args:
            worker: Its name.
            expiry: Microseconds after which a silent worker is removed from the fleet; 0 removes none.
            present_since: The instant, by Redis' clock, since which a worker must have been heard to be present.
        """
        return call_heartbeat(self._fleet, worker, expiry, present_since)

    async def send_heartbeat(self, call: Call) -> Heartbeat:
        """Send a heartbeat by itself.

        Raises:
            StoreUnavailableError: Redis cannot be read or written.
        """
        sent = monotonic()
        (reply,) = await self._client.run([call])
        return await self.hear_heartbeat(reply, sent)

    async def hear_heartbeat(self, reply: Reply, sent: int) -> Heartbeat:
        """What the reply to a heartbeat says, which was sent at an instant by `monotonic`.

        Raises:
            StoreUnavailableError: Redis cannot be read or written.
        """
        if isinstance(reply, StoreUnavailableError):
            raise reply
        now, workers, present, was_known = reply
        self._clock.update(now, sent)
        return Heartbeat(workers, present, bool(was_known))

    async def remove_worker(self, worker: str) -> None:
        """Remove a worker from the fleet.

        Raises:
            StoreUnavailableError: it may or may not have been removed.
        """
        await self._client.command("ZREM", self._fleet, worker)

    async def check_config(self, *, has_quotas: bool) -> list[str]:
        """Warnings about Redis' configuration, see `check_config`."""
        return await check_config(self._client, has_quotas=has_quotas)

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets.

        Raises:
            StoreUnavailableError: they may or may not be full.
        """
        for key in keys:
            await self._client.command("DEL", self._buckets + key)

    async def close(self) -> None:
        """Wait for checks in flight."""
        await self._coalescer.close()
