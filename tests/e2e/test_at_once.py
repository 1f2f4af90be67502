"""Requests at once in two workers: what a worker held that is killed is free within six seconds, and nothing is left."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

from redis.asyncio import Redis

from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, eventually
from tests.wire import Client, Conversation, ask, get, upstream

FREE_WITHIN = 6.0
RULES = "limits: [{name: at-once, per: all, at_once: 4}]\n"


class Streams:
    """An upstream whose responses begin, and end when it is told so."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def __call__(self, talk: Conversation) -> None:
        while True:
            request = await talk.request()
            if b"/stream" not in request.start:
                await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                continue
            await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            await self.end.wait()
            await talk.send(b"0\r\n\r\n")


async def begin(stack: AsyncExitStack, port: int) -> Client:
    """Begin a stream, and wait until it has begun."""
    client = await stack.enter_async_context(Client.connect(port))
    await client.send(get("/stream"))
    async with asyncio.timeout(DEADLINE):
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return client


async def test_what_a_killed_worker_held_is_free_within_six_seconds_and_a_restart_keeps_streams(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    streams = Streams()
    async with (
        redis_server() as redis,
        upstream(streams) as up,
        Redis(port=redis.port) as counts,
        AsyncExitStack() as stack,
    ):
        (tmp_path / "gateway.yaml").write_text(
            f"store: {{url: '{redis.url}', deadline: 5s}}\nworkers: 2\nrules: rules.yaml\ndrain_time: 30s\n"
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\n"
        )

        async def held() -> dict[bytes, int]:
            (found, *_) = [await counts.hgetall(key) for key in await counts.keys("*at-once*")] or [{}]
            return {worker: int(number) for worker, number in found.items()}

        async def both_hold() -> bool:
            """The kernel picks the worker of each connection: try until both have streams."""
            if sum((await held()).values()) < 4:
                await begin(stack, public)
            if len(await held()) == 2 and sum((await held()).values()) == 4:
                return True
            if sum((await held()).values()) == 4:
                streams.end.set()
                await eventually(is_empty)
                streams.end.clear()
            return False

        async def is_empty() -> bool:
            return not await held()

        async def passes() -> bool:
            return (await ask(public, get("/"))).status == 200

        async with gateway("--config", tmp_path / "gateway.yaml") as (process, public, _):
            await process.says(r"(?s)worker_serving.*worker_serving")
            await asyncio.sleep(0)
            await eventually(both_hold)
            assert (await ask(public, get("/"))).status == 429
            before = monotonic()
            os.kill(process.children[0], signal.SIGKILL)
            await eventually(passes)
            assert monotonic() - before < FREE_WITHIN
            await process.says(r"(?s)(worker_serving.*){3}")

            await eventually(both_hold)
            process.signal(signal.SIGUSR2)
            await process.says(r"(?s)(worker_serving.*){5}")
            assert sum((await held()).values()) == 4  # the retiring workers' streams are still open
            assert (await ask(public, get("/"))).status == 429
            streams.end.set()
            await eventually(is_empty)
            assert (await ask(public, get("/"))).status == 200
