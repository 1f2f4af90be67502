"""`ClusterStore`: buckets in a Redis Cluster, where a script may touch one slot only.

What a reader may rely on:

* Each bucket is exact: it never gives more than its rate and burst allow.
* A check takes from its slots at the same time, all or nothing within each. If one refuses, what the others gave is
  given back at once, and the check is refused. In between, for about one round trip, another check may find a bucket
  poorer than it will be and be refused; none is ever allowed that should not be.
* What was taken and whose giving back got lost, or whose check went without an answer, is gone until it refills.
* One server that does not answer is the whole Cluster away: checks are then decided by the standby.
* Refusals are not remembered (`gateway.limiter.last_known`): what a bucket owes may be given back.
* The servers' clocks should agree. A bucket only ever sees its own server's, or that of the replica that takes over.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import NoScriptError

from gateway.limits.bucket import Decision, Demand
from gateway.redis.client import Answer, RedisClient, checked, evalsha, evaluate
from gateway.redis.clock import StoreClock, monotonic
from gateway.redis.coalescer import Check
from gateway.redis.port import StoreUnavailableError, unavailable
from gateway.redis.scripts import Call, Debt, call_reconcile, call_take
from gateway.redis.store import Heartbeat, Reconciled, RedisStore


class ClusterClient:
    """The servers of a Cluster; each gets the calls of its slots in one round trip."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster
        self._users = 0
        self._is_stale = False

    async def run(self, calls: Sequence[Call]) -> list[Answer]:
        """Run scripts, each of which touches one slot."""
        try:
            async with self._discovered() as cluster:
                replies = await _send(cluster, [evalsha(call) for call in calls])
                unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
                if unknown:
                    again = await _send(cluster, [evaluate(calls[place]) for place in unknown])
                    for place, reply in zip(unknown, again, strict=True):
                        replies[place] = reply
        except Exception as error:  # noqa: BLE001 - redis-py's failures have no common class
            return [unavailable(error)] * len(calls)
        self._is_stale |= any(isinstance(reply, Exception) for reply in replies)
        return [checked(reply, call) for reply, call in zip(replies, calls, strict=True)]

    async def command(self, *words: bytes | str | int) -> Any:
        """Run one plain command on the server of its key, PING on all masters, CONFIG on one of them."""
        try:
            async with self._discovered() as cluster:
                if words[0] == "PING":
                    return await cluster.execute_command(*words, target_nodes=cluster.get_primaries())
                if words[0] == "CONFIG":
                    return await cluster.execute_command(*words, target_nodes=cluster.get_primaries()[:1])
                return await cluster.execute_command(*words)
        except Exception as error:
            raise unavailable(error) from error

    @asynccontextmanager
    async def _discovered(self) -> AsyncIterator[RedisCluster]:
        """The client, when it knows who has which slot. After a failure it asks afresh, once nobody else uses it."""
        if self._is_stale and not self._users:
            self._is_stale = False
            await self._cluster.aclose()
        self._users += 1
        try:
            yield await self._cluster.initialize()
        except Exception:
            self._is_stale = True
            raise
        finally:
            self._users -= 1

    async def close(self) -> None:
        """Close all connections."""
        await self._cluster.aclose()


async def _send(cluster: RedisCluster, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The replies to commands; one that failed is an exception."""
    pipeline = cluster.pipeline()
    for command in commands:
        pipeline.execute_command(*command)
    return await pipeline.execute(raise_on_error=False)


class ClusterStore(RedisStore):
    """Buckets in a Cluster; takes the arguments of `RedisStore`."""

    gives_back = True

    def __init__(self, channel: RedisClient, clock: StoreClock, **options: Any) -> None:
        super().__init__(channel, clock, **options)
        self._returns: set[asyncio.Task[None]] = set()

    async def _decide(self, checks: list[Check]) -> list[Decision | StoreUnavailableError]:
        parts: dict[int, dict[int, list[int]]] = {}  # slot -> check -> places of the demands
        for number, demands in enumerate(checks):
            for place, (key, _) in enumerate(demands):
                parts.setdefault(self._slot(key), {}).setdefault(number, []).append(place)
        asked = [
            [[checks[number][place] for place in places] for number, places in part.items()] for part in parts.values()
        ]
        sent = monotonic()
        answers = await self._channel.run([call_take(self._buckets, part) for part in asked])
        found: list[dict[tuple[int, ...], Decision | StoreUnavailableError]] = [{} for _ in checks]
        for part, demands_of, answer in zip(parts.values(), asked, answers, strict=True):
            for (number, places), decision in zip(part.items(), self._read(demands_of, answer, sent), strict=True):
                found[number][tuple(places)] = decision
        vain: list[Demand] = []
        joined = [_join(demands, split, vain) for demands, split in zip(checks, found, strict=True)]
        if vain:
            task = asyncio.get_running_loop().create_task(self._give_back(vain))
            self._returns.add(task)
            task.add_done_callback(self._returns.discard)
        return joined

    async def _give_back(self, vain: Sequence[Demand]) -> None:
        debts: dict[bytes, Debt] = {}
        for key, charge in vain:
            before = debts.get(key)
            debts[key] = Debt(key, charge.quota, (before.due if before else 0) - charge.due)
        await self._channel.run([call_reconcile(self._buckets, part) for part in self._by_slot(debts.values())])

    async def settle(self, debts: Sequence[Debt]) -> Reconciled:
        """Charge what was decided without the store. Each bucket at most once.

        Raises:
            StoreUnavailableError: some of it may or may not have happened.
        """
        parts = self._by_slot(debts)
        owed: dict[bytes, int] = {}
        now = 0
        answers = await self._channel.run([call_reconcile(self._buckets, part) for part in parts])
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, StoreUnavailableError):
                raise answer
            now = max(now, answer[0])
            owed |= zip([debt.key for debt in part], answer[1:], strict=True)
        return Reconciled(now, tuple(owed[debt.key] for debt in debts))

    async def heartbeat(self, worker: str, *, silence: int, since: int) -> Heartbeat:
        """Say that a worker is there; the Cluster answers only if all of its masters do."""
        await self._channel.command("PING")
        return await super().heartbeat(worker, silence=silence, since=since)

    def _slot(self, key: bytes) -> int:
        return key_slot(self._buckets + key)

    def _by_slot(self, debts: Iterable[Debt]) -> list[list[Debt]]:
        parts: dict[int, list[Debt]] = {}
        for debt in debts:
            parts.setdefault(self._slot(debt.key), []).append(debt)
        return list(parts.values())

    async def close(self) -> None:
        """Let go of connections, when what was taken in vain is given back."""
        await asyncio.gather(*self._returns)
        await super().close()


def _join(
    demands: Check, parts: dict[tuple[int, ...], Decision | StoreUnavailableError], vain: list[Demand]
) -> Decision | StoreUnavailableError:
    """One decision of the parts of a check; what was taken in vain is added to `vain`."""
    answers = parts.values()
    failure = next((answer for answer in answers if isinstance(answer, StoreUnavailableError)), None)
    decisions = {places: answer for places, answer in parts.items() if not isinstance(answer, StoreUnavailableError)}
    allowed = failure is None and all(decision.allowed for decision in decisions.values())
    owed = [0] * len(demands)
    refused: list[int] = []
    for places, decision in decisions.items():
        for at, place in enumerate(places):
            owed[place] = decision.owed[at]
            if at in decision.refused:
                refused.append(place)
            elif decision.allowed and not allowed and demands[place].charge.due:
                vain.append(demands[place])
    if failure is not None:
        return failure
    now = max(decision.now for decision in decisions.values())
    return Decision(allowed, now, tuple(owed), tuple(sorted(refused)))
