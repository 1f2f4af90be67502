"""`RedisStore`: buckets in Redis, shared by every worker of every gateway."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.limits.bucket import Decision, Demand, judge
from gateway.redis.client import Answer, RedisClient
from gateway.redis.clock import StoreClock, monotonic
from gateway.redis.coalescer import Check, Coalescer
from gateway.redis.config_check import check_config
from gateway.redis.port import StoreUnavailableError
from gateway.redis.scripts import Debt, call_heartbeat, call_reconcile, call_take


class Heartbeat(NamedTuple):
    """What the store says to a worker's sign of life.

    Attributes:
        now: The store's clock, microseconds since 1970.
        workers: Workers in the fleet.
        present: Those of them heard of lately.
        was_known: Whether this worker had been in the fleet before; not so if the store lost its data.
    """

    now: int
    workers: int
    present: int
    was_known: bool


class Reconciled(NamedTuple):
    """What the store says to debts.

    Attributes:
        now: The store's clock, microseconds since 1970.
        owed: What each bucket owed before, in microseconds, in the order of the debts.
    """

    now: int
    owed: tuple[int, ...]


class RedisStore:
    """Buckets in one Redis, or the master of several.

    Args:
        channel: The way to Redis.
        clock: Is told Redis' time with every answer.
        prefix: What our keys start with.
        deadline: Seconds a check waits at most.
        answered: Is told of each call: the number of checks, and the seconds it took.

    Attributes:
        deadline: As above.
        gives_back: Whether what a bucket owes can become less but by time.
        evicted: None are kept in this process.
        held: None.
    """

    evicted = 0
    held = 0
    gives_back = False

    def __init__(
        self,
        channel: RedisClient,
        clock: StoreClock,
        *,
        prefix: str,
        deadline: float,
        answered: Callable[[int, float], None] = lambda _checks, _seconds: None,
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._buckets = f"{prefix}:bucket:".encode()
        self._fleet = f"{prefix}:fleet".encode()
        self._coalescer = Coalescer(self._ask, deadline)
        self.deadline = deadline
        self._answered = answered

    def take(self, demands: Sequence[Demand]) -> Awaitable[Decision]:
        """Charge all enforced demands or none, together with whoever else waits."""
        return self._coalescer.ask(demands)

    async def _ask(self, checks: list[Check]) -> list[Decision | StoreUnavailableError]:
        began = monotonic()
        decisions = await self._decide(checks)
        self._answered(len(checks), (monotonic() - began) / 1_000_000)
        return decisions

    async def _decide(self, checks: list[Check]) -> list[Decision | StoreUnavailableError]:
        sent = monotonic()
        (answer,) = await self._channel.run([call_take(self._buckets, checks)])
        return self._read(checks, answer, sent)

    def _read(self, checks: Sequence[Check], answer: Answer, sent: int) -> list[Decision | StoreUnavailableError]:
        """Decisions from an answer of take.lua, by the law that it mirrors."""
        if isinstance(answer, StoreUnavailableError):
            return [answer] * len(checks)
        now = answer[0]
        self._clock.hear(now, sent)
        decisions: list[Decision | StoreUnavailableError] = []
        at = 1
        for demands in checks:
            end = at + len(demands)
            decisions.append(judge(demands, answer[at:end], now))
            at = end
        return decisions

    async def settle(self, debts: Sequence[Debt]) -> Reconciled:
        """Charge what was decided without the store, or give back what was taken in vain. Each bucket at most once.

        Raises:
            StoreUnavailableError: it may or may not have happened.
        """
        (answer,) = await self._channel.run([call_reconcile(self._buckets, debts)])
        if isinstance(answer, StoreUnavailableError):
            raise answer
        return Reconciled(answer[0], tuple(answer[1:]))

    async def heartbeat(self, worker: str, *, silence: int, since: int) -> Heartbeat:
        """Say that a worker is there.

        Args:
            worker: Its name.
            silence: Microseconds after which a silent worker is struck off; 0 to strike off nobody.
            since: The instant, by the store's clock, since which a worker has to have been heard of to be present.

        Raises:
            StoreUnavailableError: the store is not fit to be asked, or to be written to.
        """
        sent = monotonic()
        (answer,) = await self._channel.run([call_heartbeat(self._fleet, worker, silence, since)])
        if isinstance(answer, StoreUnavailableError):
            raise answer
        now, workers, present, was_known = answer
        self._clock.hear(now, sent)
        return Heartbeat(now, workers, present, bool(was_known))

    async def check_config(self) -> list[str]:
        """Warnings about how the store is set up."""
        return await check_config(self._channel)

    async def leave(self, worker: str) -> None:
        """Strike a worker off the fleet.

        Raises:
            StoreUnavailableError: it may or may not have happened.
        """
        await self._channel.command("ZREM", self._fleet, worker)

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets.

        Raises:
            StoreUnavailableError: they may or may not be full.
        """
        for key in keys:
            await self._channel.command("DEL", self._buckets + key)

    async def close(self) -> None:
        """Let go of connections."""
        await self._coalescer.close()
        await self._channel.close()
