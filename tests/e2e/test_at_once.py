"""Requests at once in real workers: what a killed one held is free within six seconds, and nothing is ever left."""

import asyncio
import itertools
import os
import random
import re
import signal
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from redis import Redis as SyncRedis
from redis.asyncio import Redis

from tests.kit.process import gateway
from tests.redis_server import redis_server
from tests.waiting import DEADLINE, at_most, eventually, until
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

        async def held() -> dict[str, int]:
            (found, *_) = [await counts.hgetall(key) for key in await counts.keys("*at-once*")] or [{}]
            return {str(worker): int(number) for worker, number in found.items()}

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
            await eventually(both_hold)
            assert (await ask(public, get("/"))).status == 429
            async with at_most(FREE_WITHIN):
                os.kill(process.children[0], signal.SIGKILL)
                await eventually(passes)
            await process.says(r"(?s)(worker_serving.*){3}")

            await eventually(both_hold)
            process.signal(signal.SIGUSR2)
            await process.says(r"(?s)(worker_serving.*){5}")
            assert sum((await held()).values()) == 4  # the retiring workers' streams are still open
            assert (await ask(public, get("/"))).status == 429
            streams.end.set()
            await eventually(is_empty)
            assert (await ask(public, get("/"))).status == 200


class Crowd:
    """Clients that hold streams open, and end or abort them; each counts as long as it is certain to be in flight."""

    def __init__(self, ports: list[int], seed: int) -> None:
        self._ports = ports
        self._random = random.Random(seed)
        self._ends: dict[bytes, asyncio.Event] = {}
        self._numbers = itertools.count()
        self.held = 0
        self.most = 0
        self.statuses: Counter[int] = Counter()
        self.is_over = False

    async def serve(self, talk: Conversation) -> None:
        """The upstream: a response begins, and ends when its client wants it to."""
        while True:
            request = await talk.request()
            name = request.start.split(b" ")[1]
            await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            if name in self._ends:
                await self._ends[name].wait()
            await talk.send(b"0\r\n\r\n")

    async def client(self) -> None:
        while not self.is_over:
            with suppress(ConnectionError, EOFError, TimeoutError):
                async with asyncio.timeout(DEADLINE), Client.connect(self._random.choice(self._ports)) as client:
                    await self._stream(client)
            await asyncio.sleep(self._random.uniform(0, 0.02))

    async def _stream(self, client: Client) -> None:
        name = f"/{next(self._numbers)}".encode()
        end = self._ends[name] = asyncio.Event()
        try:
            await client.send(get(name.decode()))
            head = await client.reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ")[1])
            self.statuses[status] += 1
            if status != 200:
                return
            self.held += 1
            self.most = max(self.most, self.held)
            try:
                async with asyncio.timeout(self._random.uniform(0, 0.1)):
                    await client.reader.readuntil(b"never")  # fails at once when the worker dies
            except TimeoutError:
                pass
            finally:
                self.held -= 1
            if self._random.random() < 0.5:
                end.set()
                await client.reader.readuntil(b"0\r\n\r\n")
        finally:
            end.set()


MOST, FLEET = 8, 4
SHARE = MOST // FLEET


async def test_kills_restarts_and_aborts_leave_every_count_at_zero_and_nobody_over_the_bound(tmp_path: Path) -> None:
    """Two gateways of two workers; the bound is that of docs/bound.md."""
    (tmp_path / "rules.yaml").write_text(f"limits: [{{name: at-once, per: all, at_once: {MOST}}}]\n")
    ports: list[int] = []
    crowd = Crowd(ports, seed=17)
    async with redis_server() as redis, upstream(crowd.serve) as up, AsyncExitStack() as stack:
        (tmp_path / "gateway.yaml").write_text(
            f"store: {{url: '{redis.url}'}}\nworkers: 2\nrules: rules.yaml\n"
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\n"
        )
        running = [await stack.enter_async_context(gateway("--config", tmp_path / "gateway.yaml")) for _ in range(2)]
        for process, public, _ in running:
            await process.says(r"(?s)worker_serving.*worker_serving")
            ports.append(public)

        async def scrape() -> list[str]:
            return [(await ask(control, get("/metrics"))).body.decode() for _, _, control in running]

        async def all_decide_with_redis() -> bool:
            return not any(re.search(r"^gateway_redis_up\S* 0", each, re.MULTILINE) for each in await scrape())

        clients = [asyncio.create_task(crowd.client()) for _ in range(24)]
        await until(lambda: crowd.statuses[200] > 200)
        assert crowd.most <= MOST
        for round_ in range(2):
            os.kill(running[round_][0].children[0], signal.SIGKILL)
            before = crowd.statuses[200]
            await until(lambda: crowd.statuses[200] > before + 100)  # noqa: B023 - used before the next round
            redis.kill()
            after = crowd.statuses[200]
            await until(lambda: crowd.statuses[200] > after + 50)  # noqa: B023 - as above
            await redis.start()
            await eventually(all_decide_with_redis)
        before = crowd.statuses[200]
        await until(lambda: crowd.statuses[200] > before + 100)
        crowd.is_over = True
        await asyncio.gather(*clients)
        assert crowd.most <= MOST + FLEET * SHARE
        assert crowd.statuses[429] > 100
        assert crowd.statuses.keys() <= {200, 429}

        async def nothing_is_left() -> bool:
            with SyncRedis(port=redis.port) as counts:
                for key in counts.keys("*at-once*"):
                    numbers = counts.hgetall(key)
                    assert (await ask(ports[0], get("/last"))).status in {200, 429}  # which removes those of the dead
                    await until(lambda: counts.hgetall(key) != numbers)  # noqa: B023 - used before the next round
                    return False
            return not any(
                re.search(r"^gateway_limit_in_flight\S* [1-9]", each, re.MULTILINE) for each in await scrape()
            )

        await eventually(nothing_is_left)
