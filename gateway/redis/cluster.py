"""`ClusterStore`: buckets in a Redis Cluster, where a script may touch one slot only.

What a reader may rely on:

* Each bucket is exact: it never gives more than its rate and burst allow.
* A check takes from all of its slots at the same time, all or nothing within each. If one slot refuses, what was taken
  from the others is refunded at once, and the check is refused. In between, for about one round trip, another check may
  find a bucket with fewer tokens than it will have, and be refused; none is ever allowed that should not be.
* If a refund is lost, or a check gets no reply, the tokens it took are gone until they refill; those of a calendar
  quota until its period ends. A refund is for the period in which the tokens were taken, and for no later one.
* One server that does not answer makes the whole Cluster unavailable: checks are then decided by the fallback.
* There is no denial cache (`gateway.limiter.last_known`), because what a bucket owes may be refunded.
* The servers' clocks should agree. A bucket only ever sees the clock of its own server, or of the replica that takes
  over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from redis.asyncio.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import NoScriptError, RedisError

from gateway.limits.bucket import Decision
from gateway.limits.charge import Demand
from gateway.limits.debt import Debt
from gateway.redis.client import SCAN_COUNT, HandlePage, RedisClient, Reply, checked, evalsha, evaluate
from gateway.redis.clock import StoreClock, monotonic
from gateway.redis.coalescer import Check
from gateway.redis.errors import StoreUnavailableError, unavailable
from gateway.redis.scripts import Call, call_reconcile, call_take
from gateway.redis.settlements import Settlement
from gateway.redis.store import Heartbeat, RedisStore

_T = TypeVar("_T")

_Parts = dict[tuple[int, ...], Decision | StoreUnavailableError]
"""The decision of each slot that a check touches, by the positions of the demands in that slot."""

_Refund = tuple[Demand, int]
"""A demand that was charged in vain, and when."""


class ClusterClient:
    """The servers of a Cluster; each gets the calls for its slots in one round trip."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster
        self._in_use = 0
        self._is_stale = False

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """Run scripts, each of which touches one slot."""
        try:
            replies = await self._discovered(lambda cluster: _run(cluster, calls))
        except Exception as error:  # noqa: BLE001 - redis-py's failures have no common class
            return [unavailable(error)] * len(calls)
        self._is_stale |= any(isinstance(reply, Exception) for reply in replies)
        return [checked(reply, call) for reply, call in zip(replies, calls, strict=True)]

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one plain command on the server of its key, PING on all masters, CONFIG on one of them."""
        try:
            return await self._discovered(lambda cluster: _command(cluster, words))
        except Exception as error:
            raise unavailable(error) from error

    async def scan(self, pattern: str, handle: HandlePage) -> None:
        """See `RedisClient.scan`: the keys of one master after the other."""
        try:
            await self._discovered(lambda cluster: _scan(cluster, pattern, handle))
        except RedisError as error:
            raise unavailable(error) from error

    async def _discovered(self, use: Callable[[RedisCluster], Awaitable[_T]]) -> _T:
        """Use the client, which knows which server has which slot.

        After a failure it asks again, once no call uses it.
        """
        if self._is_stale and not self._in_use:
            self._is_stale = False
            await self._cluster.aclose()
        self._in_use += 1
        try:
            return await use(await self._cluster.initialize())
        except Exception:
            self._is_stale = True
            raise
        finally:
            self._in_use -= 1

    async def close(self) -> None:
        """Close all connections."""
        await self._cluster.aclose()


async def _run(cluster: RedisCluster, calls: Sequence[Call]) -> list[Any]:
    replies = await _send(cluster, [evalsha(call) for call in calls])
    unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if unknown:
        again = await _send(cluster, [evaluate(calls[place]) for place in unknown])
        for place, reply in zip(unknown, again, strict=True):
            replies[place] = reply
    return replies


async def _command(cluster: RedisCluster, words: Sequence[bytes | str | int]) -> Any:
    if words[0] == "PING":
        return await cluster.execute_command(*words, target_nodes=cluster.get_primaries())
    if words[0] == "CONFIG":
        return await cluster.execute_command(*words, target_nodes=cluster.get_primaries()[:1])
    return await cluster.execute_command(*words)


async def _scan(cluster: RedisCluster, pattern: str, handle: HandlePage) -> None:
    for node in cluster.get_primaries():
        cursor: Any = 0
        while True:
            cursor, keys = await node.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
            await handle(keys)
            if not int(cursor):
                break


async def _send(cluster: RedisCluster, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The replies to commands; one that failed is an exception."""
    pipeline = cluster.pipeline()
    for command in commands:
        pipeline.execute_command(*command)
    return await pipeline.execute(raise_on_error=False)


class ClusterStore(RedisStore):
    """Buckets in a Cluster; takes the arguments of `RedisStore`."""

    refunds = True

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
        super().__init__(client, clock, prefix=prefix, deadline=deadline, on_reply=on_reply, on_lost=on_lost)
        self._refunds: set[asyncio.Task[None]] = set()

    async def _run(self, checks: list[Check], settled: Sequence[Settlement]) -> list[Decision | StoreUnavailableError]:
        slots: dict[int, dict[int, list[int]]] = {}  # slot -> check -> positions of its demands
        for number, demands in enumerate(checks):
            for position, demand in enumerate(demands):
                slots.setdefault(self._slot(demand.key), {}).setdefault(number, []).append(position)
        parts = [
            [[checks[number][position] for position in positions] for number, positions in slot.items()]
            for slot in slots.values()
        ]
        debts = self._by_slot(each.debt for each in settled)
        calls = [call_reconcile(self._buckets, part) for part in debts]
        untrue = self._untrue_by_slot()
        of_slot = {slot: untrue.pop(slot, []) for slot in slots}
        sent, now = monotonic(), self._clock()
        takes = [
            call_take(self._buckets, part, now, self.slots.argument, more)
            for part, more in zip([*parts, *[()] * len(untrue)], [*of_slot.values(), *untrue.values()], strict=True)
        ]
        replies = await self._client.run([*calls, *takes])
        lost = [part for part, reply in zip(debts, replies, strict=False) if isinstance(reply, StoreUnavailableError)]
        lost_keys = {debt.key for part in lost for debt in part}
        self._note_lost([each for each in settled if each.debt.key in lost_keys])
        found: list[_Parts] = [{} for _ in checks]
        taken = replies[len(debts) :]
        for call, keys, reply in zip(takes[len(parts) :], untrue.values(), taken[len(parts) :], strict=True):
            self._read(call, [], reply, sent, keys)
        for call, slot, part, more, reply in zip(takes, slots.values(), parts, of_slot.values(), taken, strict=False):
            read = self._read(call, part, reply, sent, more)
            for (number, positions), decision in zip(slot.items(), read, strict=True):
                found[number][tuple(positions)] = decision
        to_refund: list[_Refund] = []
        decisions = [_join(demands, each, to_refund) for demands, each in zip(checks, found, strict=True)]
        for demand, at in to_refund:
            self.release([demand], Decision(True, at, (0,), ()))
        to_refund = [each for each in to_refund if not each[0].charge.quota.at_once]
        if to_refund:
            task = asyncio.get_running_loop().create_task(self._refund(to_refund))
            self._refunds.add(task)
            task.add_done_callback(self._refunds.discard)
        return decisions

    def _untrue_by_slot(self) -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {}
        for key in self.slots.take_due():
            found.setdefault(self._slot(key), []).append(key)
        return found

    async def _refund(self, refunds: Sequence[_Refund]) -> None:
        debts: dict[bytes, Debt] = {}
        for demand, at in refunds:
            key, charge = demand.key, demand.charge
            before = debts.get(key)
            debts[key] = Debt(key, charge.quota, (before.due if before else 0) - charge.due, at=at)
        await self._client.run([call_reconcile(self._buckets, part) for part in self._by_slot(debts.values())])

    async def reconcile(self, debts: Sequence[Debt]) -> Sequence[int]:
        """Charge what was decided without Redis, see `RedisStore.reconcile`."""
        parts = self._by_slot(debts)
        owed: dict[bytes, int] = {}
        replies = await self._client.run([call_reconcile(self._buckets, part) for part in parts])
        for part, reply in zip(parts, replies, strict=True):
            if isinstance(reply, StoreUnavailableError):
                raise reply
            owed |= zip([debt.key for debt in part], reply[1:], strict=True)
        return [owed[debt.key] for debt in debts]

    async def hear_heartbeat(self, reply: Reply, sent: int) -> Heartbeat:
        """What the reply to a heartbeat says. Fails unless all masters of the Cluster respond."""
        heartbeat = await super().hear_heartbeat(reply, sent)
        await self._client.command("PING")
        return heartbeat

    def _slot(self, key: bytes) -> int:
        return key_slot(self._buckets + key)

    def _by_slot(self, debts: Iterable[Debt]) -> list[list[Debt]]:
        parts: dict[int, list[Debt]] = {}
        for debt in debts:
            parts.setdefault(self._slot(debt.key), []).append(debt)
        return list(parts.values())

    async def close(self) -> None:
        """Wait for checks and refunds in flight."""
        await asyncio.gather(*self._refunds)
        await super().close()


def _join(demands: Check, parts: _Parts, to_refund: list[_Refund]) -> Decision | StoreUnavailableError:
    """One decision from the parts of a check. Demands that were charged in vain are added to `to_refund`."""
    replies = parts.values()
    failure = next((reply for reply in replies if isinstance(reply, StoreUnavailableError)), None)
    decisions = {positions: reply for positions, reply in parts.items() if not isinstance(reply, StoreUnavailableError)}
    allowed = failure is None and all(decision.allowed for decision in decisions.values())
    owed = [0] * len(demands)
    refused: list[int] = []
    for positions, decision in decisions.items():
        for at, position in enumerate(positions):
            owed[position] = decision.owed[at]
            if at in decision.refused:
                refused.append(position)
            elif decision.allowed and not allowed and demands[position].charge.due:
                to_refund.append((demands[position], decision.now))
    if failure is not None:
        return failure
    now = max(decision.now for decision in decisions.values())
    return Decision(allowed, now, tuple(owed), tuple(sorted(refused)))
