"""Both stores of overrides keep the same promises: a file, and Redis. (`tests.control.test_cluster` has a Cluster.)"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.control.overrides.file import FileOverrideStore, OverrideFile
from gateway.control.overrides.store import NONE, UNKNOWN, OverrideStore, RedisOverrideStore, Version
from gateway.redis.client import RedisClient
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.open import connected
from gateway.settings.store import Store
from gateway.settings.url import RedisUrl
from tests.redis_server import redis_server

A, B, C = (letter * 32 for letter in (b"a", b"b", b"c"))
HOLDS = {A: b"1", B: b"2"}


async def client(url: str) -> AsyncIterator[RedisClient]:
    async with connected(Store(RedisUrl.parse(url))) as made:
        assert made is not None
        yield made


@pytest.fixture(params=["file", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OverrideStore]:
    if request.param == "file":
        yield FileOverrideStore(OverrideFile(tmp_path / "overrides.json"))
    else:
        async with redis_server() as server:
            async for made in client(server.url):
                yield RedisOverrideStore(made, "gateway")


@pytest.fixture
async def redis_store() -> AsyncIterator[tuple[RedisOverrideStore, Redis]]:
    async with redis_server() as server, Redis(port=server.port, protocol=2) as direct:
        async for made in client(server.url):
            yield RedisOverrideStore(made, "gateway"), direct


async def whole(store: OverrideStore) -> tuple[Version, dict[bytes, bytes]]:
    stored = await store.load(UNKNOWN)
    assert stored is not None
    assert stored.is_whole
    return stored.version, dict(stored.texts)


async def test_changes_are_loaded_as_changes_and_all_as_all(store: OverrideStore) -> None:
    for digest, text in HOLDS.items():
        await store.put(digest, text)
    version, texts = await whole(store)
    assert texts == HOLDS
    assert await store.load(version) is None
    await store.put(A, b"3")
    changed = await store.load(version)
    assert changed is not None
    assert (changed.is_whole, changed.texts, list(changed.removed)) == (False, {A: b"3"}, [])
    assert changed.version == (version.generation, version.number + 1)
    assert list(await store.remove({A: b"1", B: b"2", C: b"9"})) == [B]
    removed = await store.load(changed.version)
    assert removed is not None
    assert (removed.is_whole, removed.texts, list(removed.removed)) == (False, {}, [B])
    assert (await whole(store))[1] == {A: b"3"}


async def test_all_are_replaced_in_one_step_or_none(store: OverrideStore) -> None:
    await store.put(A, b"1")
    version, _ = await whole(store)
    many = {b"%032x" % number: b"%d" % number for number in range(1200)}
    assert await store.replace(many, version)
    later, texts = await whole(store)
    assert texts == many
    assert later.generation > version.generation
    changed = await store.load(version)
    assert changed is not None
    assert changed.is_whole
    assert not await store.replace({C: b"3"}, version)
    assert await whole(store) == (later, many)
    assert await store.replace({}, later)
    assert (await whole(store))[1] == {}
    await store.put(B, b"2")
    assert (await whole(store))[1] == {B: b"2"}


async def test_more_changes_than_are_remembered_are_loaded_as_all(
    redis_store: tuple[RedisOverrideStore, Redis],
) -> None:
    store, direct = redis_store
    await store.put(A, b"1")
    version, _ = await whole(store)
    await store.remove({A: b"1"})
    for _ in range(999):
        await store.put(B, b"2")
    changed = await store.load(version)
    assert changed is not None
    assert (changed.is_whole, changed.texts, list(changed.removed)) == (False, {B: b"2"}, [A])
    await store.put(B, b"4")
    changed = await store.load(version)
    assert changed is not None
    assert (changed.is_whole, changed.texts) == (True, {B: b"4"})
    assert await direct.hlen("gateway:overrides") < 1010


async def test_nothing_is_left_of_what_was_gathered_or_replaced(redis_store: tuple[RedisOverrideStore, Redis]) -> None:
    store, direct = redis_store
    await store.replace(HOLDS, NONE)
    version, _ = await whole(store)
    await store.touch()
    assert (await whole(store))[0] == version
    await store.replace({C: b"3"}, version)
    assert await direct.keys("*") == [b"gateway:overrides"]
    assert await direct.ttl("gateway:overrides") == -1
    assert await direct.hget("gateway:overrides", "touches") == b"1"
    assert not await store.replace(HOLDS, version)
    (staged,) = [key for key in await direct.keys("*") if b"staged" in key]
    assert 0 < await direct.ttl(staged) <= 60


async def test_what_redis_has_lost_is_stored_again_by_one_worker(
    redis_store: tuple[RedisOverrideStore, Redis],
) -> None:
    store, direct = redis_store
    await direct.set("gateway:overrides:{gateway:overrides}:restoring", "another worker")
    with pytest.raises(StoreUnavailableError, match="another worker"):
        await store.restore(HOLDS)
    await direct.flushall()
    await store.restore(HOLDS)
    version, texts = await whole(store)
    assert texts == HOLDS
    await store.restore({C: b"3"})  # not lost any more
    assert await whole(store) == (version, HOLDS)
