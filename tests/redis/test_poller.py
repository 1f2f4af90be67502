"""The poller: one round trip for all subscribers, whatever one of them or Redis does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha1
from typing import Any

import pytest

from gateway.limiter.limiter import open_limiter
from gateway.redis.client import HandlePage, RedisClient, Reply
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.poller import Poller
from gateway.redis.scripts import Call, Script
from tests.redis.builders import Recorder, client_of, store_of
from tests.redis.clusters import redis_cluster
from tests.redis_server import redis_server
from tests.waiting import eventually

TEXT = "return {KEYS[1], ARGV[1]}"
ECHO = Script(TEXT, sha1(TEXT.encode(), usedforsecurity=False).hexdigest())


class Recorded:
    """A client that records what it runs at once."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self.runs: list[list[bytes]] = []

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        self.runs.append([call.keys[0] for call in calls])
        return await self._client.run(calls)

    async def command(self, *words: bytes | str | int) -> Any:
        return await self._client.command(*words)

    async def scan(self, pattern: str, handle: HandlePage) -> None:
        await self._client.scan(pattern, handle)

    async def close(self) -> None:
        await self._client.close()


class Subscriber:
    """Keeps what it hears."""

    def __init__(self, name: str) -> None:
        self.call = Call(ECHO, [name.encode()], ["x"], None)
        self.expected: Reply = [name.encode(), b"x"]
        self.heard: list[Reply | None] = []
        self.may_finish = asyncio.Event()
        self.may_finish.set()

    def ask(self) -> Call:
        return self.call

    async def hear(self, reply: Reply | None) -> None:
        self.heard.append(reply)
        await self.may_finish.wait()

    async def has_heard(self) -> bool:
        return bool(self.heard)

    async def next(self) -> Reply | None:
        """What it hears next."""
        count = len(self.heard)

        async def has_heard() -> bool:
            return len(self.heard) > count

        await eventually(has_heard)
        return self.heard[count]


@asynccontextmanager
async def polled(url: str, *names: str) -> AsyncIterator[tuple[Recorded, list[Subscriber]]]:
    client, subscribers = Recorded(client_of(url)), [Subscriber(name) for name in names]
    poller = Poller(client)
    for each in subscribers:
        poller.subscribe(each.ask, each.hear)
    async with poller.polling():
        yield client, subscribers
    await client.close()


@pytest.mark.parametrize("kind", ["server", "cluster"])
async def test_all_subscribers_are_asked_for_in_one_run(kind: str) -> None:
    async with AsyncExitStack() as stack:
        if kind == "server":
            url = (await stack.enter_async_context(redis_server())).url
        else:
            nodes = await stack.enter_async_context(redis_cluster())
            url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        client, subscribers = await stack.enter_async_context(polled(url, "a", "b", "c"))
        for _ in range(3):
            assert await subscribers[0].next() == subscribers[0].expected
        for each in subscribers:
            assert all(reply == each.expected for reply in each.heard)
        assert all(run == [b"a", b"b", b"c"] for run in client.runs)


async def test_a_busy_subscriber_is_left_out_and_holds_up_nobody() -> None:
    async with redis_server() as redis, polled(redis.url, "busy", "free") as (client, (busy, free)):
        busy.may_finish.clear()
        await eventually(busy.has_heard)
        busy.heard = busy.heard[-1:]
        for _ in range(3):
            assert await free.next() == free.expected
        assert (client.runs[-1], len(busy.heard)) == ([b"free"], 1)
        busy.may_finish.set()
        assert await busy.next() == busy.expected


async def test_without_a_reply_subscribers_hear_why_and_afterwards_hear_replies_again() -> None:
    async with redis_server() as redis, polled(redis.url, "a", "b") as (_, subscribers):
        assert await subscribers[0].next() == subscribers[0].expected
        redis.kill()
        for each in subscribers:
            while not isinstance(await each.next(), StoreUnavailableError):
                pass
        await redis.start()
        for each in subscribers:
            while await each.next() != each.expected:
                pass


async def test_the_heartbeats_of_a_limiter_go_along_with_the_polls() -> None:
    async with redis_server() as redis:
        client, other = Recorded(client_of(redis.url)), Subscriber("other")
        poller = Poller(client)
        limiter = open_limiter(store_of(redis.url), client, poller, Recorder(), workers=1)
        poller.subscribe(other.ask, other.hear)
        await limiter.start()
        assert client.runs == [[b"gateway:fleet"]]
        async with poller.polling():
            while client.runs.count([b"gateway:fleet", b"other"]) < 3:
                assert await other.next() == other.expected
        assert client.runs.count([b"gateway:fleet"]) == 1
        assert len(client.runs) > 6
        await limiter.close()
        await client.close()


async def test_with_nothing_to_ask_subscribers_are_called_all_the_same() -> None:
    subscriber = Subscriber("a")
    poller = Poller(None)
    poller.subscribe(lambda: None, subscriber.hear)
    async with poller.polling():
        assert await subscriber.next() is None
