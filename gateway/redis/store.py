"""`RedisStore`: buckets in Redis, shared by every worker of every gateway."""

from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from gateway.limits.bucket import Decision, judge
from gateway.limits.charge import Demand
from gateway.limits.debt import Debt
from gateway.redis.client import RedisClient, Reply
from gateway.redis.clock import StoreClock, monotonic
from gateway.redis.coalescer import Check, Coalescer
from gateway.redis.config_check import check_config
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call, call_heartbeat, call_reconcile, call_take
from gateway.redis.settlements import Settlement, Settlements
from gateway.redis.slots import STALE, Slots, keys_at_once

_HEARTBEAT_NUMBERS = 4
"""What the reply to a heartbeat has before the names of the workers."""


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
        on_lost: Called with the number of settlements that may not have reached Redis.

    Attributes:
        deadline: As given.
        slots: This worker's requests in flight, for limits of requests at once.
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
        on_lost: Callable[[int], None] = lambda _settlements: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._buckets = f"{prefix}:bucket:".encode()
        self._fleet = f"{prefix}:fleet".encode()
        self._settlements = Settlements()
        self.slots = Slots(clock)
        self._coalescer = Coalescer(self._decide, deadline, self._has_more, self.release)
        self.deadline = deadline
        self._on_reply = on_reply
        self._on_lost = on_lost

    def take(self, demands: Sequence[Demand]) -> Future[Decision]:
        """Charge all enforced demands or none, in one round trip with whatever other checks wait.

        Raises:
            StoreUnavailableError: there is no decision; the demands may or may not have been charged.
        """
        return self._coalescer.submit(demands)

    def release(self, demands: Sequence[Demand], decision: Decision) -> None:
        """A request has ended, or was allowed in vain: limits of requests at once count it no more."""
        if decision.allowed:
            self.slots.release(demands, decision)

    def give_up(self, demands: Sequence[Demand], taking: Future[Decision]) -> None:
        """Whoever waited for a check was cancelled. If it was decided meanwhile, it was so in vain."""
        if taking.done() and not taking.cancelled() and taking.exception() is None:
            self.release(demands, taking.result())

    def send(self) -> None:
        """Send what waits, with the next checks or without."""
        if self._has_more():
            self._coalescer.send()

    def _has_more(self) -> bool:
        return bool(self._settlements) or self.slots.is_due

    async def _decide(self, checks: list[Check]) -> list[Decision | StoreUnavailableError]:
        began = monotonic()
        settled = self._settlements.take() if self._settlements else []
        try:
            decisions = await self._run(checks, settled)
        except BaseException:
            self._note_lost(settled)
            raise
        if checks:
            self._on_reply(len(checks), (monotonic() - began) / 1_000_000)
        return decisions

    async def _run(self, checks: list[Check], settled: Sequence[Settlement]) -> list[Decision | StoreUnavailableError]:
        """Settle first, then decide, in one round trip."""
        sent = monotonic()
        calls = [call_reconcile(self._buckets, [each.debt for each in settled])] if settled else []
        untrue = self.slots.take_due()
        take = None
        if checks or untrue:
            take = call_take(self._buckets, checks, self._clock(), self.slots.argument, untrue)
            calls.append(take)
        replies = await self._client.run(calls)
        if settled and isinstance(replies[0], StoreUnavailableError):
            self._note_lost(settled)
        return [] if take is None else self._read(take, checks, replies[-1], sent, untrue)

    def settle(self, debts: Iterable[Debt]) -> None:
        """Charge or refund what ended requests cost more or less than was charged, with one of the next round trips.

        Nobody waits for it. If it is lost, so is what it would have changed; `on_lost` is called.
        """
        self._settlements.add(debts)
        self.send()

    def drop_settlements(self) -> None:
        """Give up what waits: Redis is unavailable."""
        if lost := self._settlements.drop():
            self._on_lost(lost)

    def _note_lost(self, settled: Iterable[Settlement]) -> None:
        if lost := sum(each.times for each in settled):
            self._on_lost(lost)

    def _read(
        self, call: Call, checks: Sequence[Check], reply: Reply, sent: int, untrue: Sequence[bytes] = ()
    ) -> list[Decision | StoreUnavailableError]:
        """Decisions from a reply of take.lua, by the law that it mirrors. What they hold is counted from here on."""
        counts_at_once = len(call.arguments) > 1
        if isinstance(reply, StoreUnavailableError):
            if counts_at_once:
                self.slots.doubt([*keys_at_once(checks), *untrue])
            return [reply] * len(checks)
        now = reply[0]
        expected = self._clock() - (monotonic() - sent)
        self._clock.update(now, sent)
        decisions: list[Decision | StoreUnavailableError] = []
        at = 1
        for demands in checks:
            end = at + len(demands)
            decision = judge(demands, reply[at:end], now)
            if counts_at_once:
                self.slots.hold(demands, decision)
            decisions.append(decision)
            at = end
        if counts_at_once:
            keys = [*keys_at_once(checks), *untrue]
            self.slots.heard(keys, call.arguments[1], is_written=now <= expected + STALE)
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
        numbers, names = reply[:_HEARTBEAT_NUMBERS], reply[_HEARTBEAT_NUMBERS:]
        if len(numbers) < _HEARTBEAT_NUMBERS or any(type(number) is not int for number in numbers):
            raise StoreUnavailableError(f"unexpected reply to a heartbeat: {reply!r:.80}")
        now, workers, present, was_known = numbers
        self._clock.update(now, sent)
        known = [name.decode(errors="replace") for name in names if isinstance(name, bytes)]
        self.slots.hear(now, known, was_known=bool(was_known))
        self.send()
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
        """Send what waits, and wait for checks in flight."""
        await self._coalescer.close()
        self.drop_settlements()
