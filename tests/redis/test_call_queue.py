"""Many callers share round trips, and each gets its own reply."""

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.redis.call_queue import CallQueue
from gateway.redis.client import Reply
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call, Script
from tests.redis.builders import client_of
from tests.redis_server import redis_server

ECHO = Script("return {ARGV[1]}", "9f2b7f1c0b1cfe1a4d8b3f5a0000000000000000")


def echo(number: int) -> Call:
    return Call(ECHO, [], [number], None)


async def test_a_thousand_calls_need_few_connections_and_each_gets_its_reply() -> None:
    async with redis_server() as redis:
        client = client_of(redis.url)
        queue = CallQueue(client)
        replies = await asyncio.gather(*[queue.run(echo(number)) for number in range(1000)])
        assert replies == [[b"%d" % number] for number in range(1000)]
        await client.close()


async def test_an_error_is_the_reply_of_those_that_wait_and_the_next_are_sent() -> None:
    class Failing:
        rounds = 0

        async def run(self, calls: Sequence[Call]) -> list[Reply]:
            self.rounds += 1
            if self.rounds == 1:
                raise LookupError("a fault of ours")
            return [[1] for _ in calls]

        def __getattr__(self, name: str) -> Any:
            raise NotImplementedError(name)

    queue = CallQueue(Failing())
    first = await asyncio.gather(queue.run(echo(1)), queue.run(echo(2)))
    assert all(isinstance(reply, StoreUnavailableError) for reply in first)
    assert await queue.run(echo(3)) == [1]


async def test_a_caller_that_is_cancelled_holds_up_nobody() -> None:
    async with redis_server() as redis:
        client = client_of(redis.url)
        queue = CallQueue(client)
        gone = asyncio.ensure_future(queue.run(echo(1)))
        other = asyncio.ensure_future(queue.run(echo(2)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await other == [b"2"]
        await client.close()
