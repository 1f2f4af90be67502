"""A real Cluster of three: never more admitted than allowed, and what a refused request took is given back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from gateway.limits.at_once import AtOnce
from gateway.limits.charge import Charge, Demand
from gateway.limits.debt import Debt, settle
from gateway.limits.limit import Candidate, Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.redis.clock import StoreClock
from gateway.redis.cluster import ClusterStore
from gateway.redis.errors import StoreUnavailableError
from tests.kit.identity import make_identity
from tests.redis.builders import Recorder, client_of, demand, failover_of, limiter, quota_demand
from tests.redis.clusters import redis_cluster
from tests.redis_server import RedisServer
from tests.waiting import DEADLINE, eventually, until

HOUR = 3_600_000_000


@pytest.fixture
async def nodes() -> AsyncIterator[list[RedisServer]]:
    async with redis_cluster() as started:
        yield started


def url_of(nodes: list[RedisServer]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


@asynccontextmanager
async def cluster_store(nodes: list[RedisServer]) -> AsyncIterator[ClusterStore]:
    client = client_of(url_of(nodes))
    store = ClusterStore(client, StoreClock(), prefix="gateway", deadline=5.0)
    try:
        yield store
    finally:
        await store.close()
        await client.close()


async def test_a_cluster_keeps_every_guarantee(nodes: list[RedisServer]) -> None:
    """One cluster, one promise after the other: to start one takes seconds."""
    async with cluster_store(nodes) as store:
        await keep(store, nodes)
        await keep_settlements(store)
        await keep_requests_at_once(store, nodes)


async def keep_a_reserve(store: ClusterStore) -> None:
    """What is kept for a higher priority is kept in any slot, and what a refusal of low priority took is given back."""
    low, high = (demand("kept", burst=4, reserve=reserve) for reserve in (0.5, 0.0))
    assert [(await store.take([low])).allowed for _ in range(3)] == [True, True, False]
    beside = [demand(f"beside{number}") for number in range(10)]
    assert (await store.take([*beside, low])).refused == (10,)
    await asyncio.gather(*store._refunds)
    assert (await store.take([demand(f"beside{number}", cost=0) for number in range(10)])).owed == (0,) * 10
    assert [(await store.take([high])).allowed for _ in range(3)] == [True, True, False]


async def keep_settlements(store: ClusterStore) -> None:
    """What ended requests cost more or less is settled in each slot, and buckets may owe more than they hold."""
    most, least = ([demand(f"{name}{number}", cost=5) for number in range(6)] for name in ("most", "least"))
    for demands, difference in ((most, 37), (least, -3)):
        store.settle(settle(demands, await store.take(demands), difference))

    async def are_settled() -> bool:
        reads = [replace(each, charge=each.charge.with_cost(0)) for each in (*most, *least)]
        owed = (await store.take(reads)).owed
        return [-(-each // HOUR) for each in owed] == [42] * 6 + [2] * 6

    await eventually(are_settled)
    owed = await store.reconcile([Debt(each.key, each.charge.quota, 0) for each in most])
    assert [-(-each // HOUR) for each in owed] == [42] * 6


async def keep_requests_at_once(store: ClusterStore, nodes: list[RedisServer]) -> None:
    """They are counted in any slot, and what a refusal in another slot took is given back."""
    await store.send_heartbeat(store.heartbeat(store.slots.name, expiry=0))
    many = [Demand(b"once%d" % number, Charge.of("once", Quota(AtOnce(), 1))) for number in range(6)]
    held = await store.take(many)
    over = await store.take(many[3:])
    assert (held.allowed, over.allowed, over.owed) == (True, False, (1,) * 3)
    store.release(many, held)
    full = demand("full", burst=1)
    assert (await store.take([full])).allowed
    assert (await store.take([full, *many])).refused == (0,)
    assert len(store.slots.in_flight) == 0

    async def none_is_left() -> bool:
        store.send()
        found = 0
        for node in nodes:
            async with Redis(port=node.port) as client:
                found += len([key async for key in client.scan_iter("*once*")])
        return found == 0

    await eventually(none_is_left)
    assert (await store.take(many)).allowed


async def keep(store: ClusterStore, nodes: list[RedisServer]) -> None:
    keys = [f"k{number}" for number in range(40)]
    assert len({key_slot(f"gateway:bucket:{key}".encode()) * 3 // 16384 for key in keys}) == 3

    # Buckets in many slots are charged together.
    decision = await store.take([demand(key) for key in keys])
    assert (decision.allowed, decision.owed, decision.refused) == (True, (0,) * 40, ())
    owed = (await store.take([demand(key, cost=0) for key in keys])).owed
    assert all(HOUR - 10_000_000 < each <= HOUR for each in owed)

    # What a refused check took is given back.
    rich = [demand(f"rich{number}") for number in range(10)]
    assert (await store.take([demand("poor", burst=1)])).allowed
    refused = await store.take([*rich[:5], demand("poor", burst=1), *rich[5:]])
    assert (refused.allowed, refused.refused) == (False, (5,))

    async def is_given_back() -> bool:
        return (await store.take([demand(f"rich{number}", cost=0) for number in range(10)])).owed == (0,) * 10

    await eventually(is_given_back)

    # So are the tokens of a calendar quota.
    quotas = [quota_demand(f"quota{number}") for number in range(10)]
    assert not (await store.take([*quotas, demand("poor", burst=1)])).allowed

    async def are_given_back() -> bool:
        return (await store.take([quota_demand(f"quota{number}", cost=0) for number in range(10)])).owed == (0,) * 10

    await eventually(are_given_back)
    assert (await store.take(quotas)).allowed
    assert (await store.take(quotas)).owed == (1,) * 10

    # A shadow in another slot never blocks, and is given back too.
    shadow = demand("shadow", burst=1, enforced=False)
    assert [(await store.take([demand(f"s{turn}"), shadow])).refused for turn in range(2)] == [(), (1,)]

    # Nor does a candidate, whose bucket is wherever its key is.
    tried = Limit("tried", ("user",), Quota(Rate(1, 3600), 4), candidate=Candidate(Quota(Rate(1, 3600), 1)))
    rules = Rules(limits=[tried])
    callers = [make_identity(hash_key=b"k" * 16).user(f"user-{number}") for number in range(8)]
    both = [rules.demands(rules.default, caller) for caller in callers]
    assert {len({key_slot(b"gateway:bucket:" + one.key) * 3 // 16384 for one in each}) for each in both} == {1, 2}
    for each in both:
        found = [(await store.take(each)).refused for _ in range(4)]
        assert found == [(), (1,), (1,), (1,)]
        refused = await store.take(each)
        assert (refused.allowed, 0 in refused.refused) == (False, True)

    await keep_a_reserve(store)

    # Never more than allowed, however many ask at once, and nothing is lost of what was refused.
    shared = demand("shared", burst=50)
    users = [demand(f"user{number}", burst=1) for number in range(300)]
    decisions = await asyncio.gather(*(store.take([user, shared]) for user in users))
    assert sum(decision.allowed for decision in decisions) == 50
    await asyncio.gather(*store._refunds)
    looks = await asyncio.gather(*(store.take([demand(f"user{number}", burst=1, cost=0)]) for number in range(300)))
    assert [look.owed[0] > 0 for look in looks] == [decision.allowed for decision in decisions]

    # A script that the servers do not know is sent again, a slot that has moved is followed.
    clients: list[Any] = [Redis(port=node.port, protocol=2) for node in nodes]
    for client in clients:
        await client.script_flush()
    assert (await store.take([demand(f"after{number}") for number in range(10)])).allowed
    await move_slot(clients, nodes, "gateway:bucket:after0")
    for client in clients:
        await client.aclose()
    assert (await store.take([demand("after0", cost=0)])).owed[0] > 0
    assert (await store.take([demand("after0")])).allowed
    await store.reset([b"after0"])
    assert (await store.take([demand("after0")])).owed == (0,)


async def move_slot(clients: list[Any], nodes: list[RedisServer], key: str) -> None:
    """Give a key's slot to another master, the way redis-cli does."""
    slot = key_slot(key.encode())
    holders = [await client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) for client in clients]
    here = holders.index(1)
    there = (here + 1) % len(nodes)
    ids = [(await client.execute_command("CLUSTER", "MYID")).decode() for client in clients]
    await clients[there].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
    await clients[here].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
    await clients[here].execute_command("MIGRATE", "127.0.0.1", nodes[there].port, key, 0, 5000)
    for place in (there, here):
        await clients[place].execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[there])


async def test_a_cluster_that_lost_a_master_is_unavailable_until_it_is_complete(nodes: list[RedisServer]) -> None:
    observer = Recorder()
    async with limiter(url_of(nodes), observer) as opened:
        many = [[demand(f"k{number}", burst=100)] for number in range(60)]
        assert all([(await opened.check(one)).allowed for one in many])
        nodes[1].kill()
        async with asyncio.timeout(DEADLINE):
            while not opened.is_degraded:
                for one in many:
                    assert (await opened.check(one)).allowed
        await nodes[1].start()
        await until(lambda: not opened.is_degraded)
        for one in many:
            verdict = await opened.check(one)
            assert verdict.allowed
            assert not verdict.degraded
    assert len(observer.lost) == len(observer.back) == 1
    assert failover_of(opened).fallback.workers == 1


async def test_a_cluster_that_cannot_be_reached_is_unavailable(nodes: list[RedisServer]) -> None:
    for node in nodes:
        node.kill()
    async with cluster_store(nodes) as store:
        with pytest.raises(StoreUnavailableError):
            await store.take([demand()])
        with pytest.raises(StoreUnavailableError):
            await store.reset([b"a"])
        with pytest.raises(StoreUnavailableError):
            await store.reconcile([Debt(b"a", demand().charge.quota, 1)])
