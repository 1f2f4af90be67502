"""Load: so many connections that ask as fast as they are answered. From wrk; where it is not installed, from Python."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from httptools import HttpResponseParser

from benchmarks.kit.programs import find
from tests.kit.process import Process

_SCRIPT = Path(__file__).with_name("wrk.lua")
_REFUSED = 400


class Load(NamedTuple):
    """What a run did.

    Attributes:
        requests: That were answered.
        refused: Of them, those whose answer was 400 or above.
        seconds: It took.
        p50: Milliseconds.
        p99: Milliseconds.
    """

    requests: int
    refused: int
    seconds: float
    p50: float
    p99: float


class Generator(Protocol):
    """Makes load."""

    name: str

    async def __call__(
        self, port: int, *, connections: int, seconds: float, users: int, first: int | None = None
    ) -> Load:
        """Ask for an order in the name of one user after the other, beginning with the `first`, or with any."""


class Wrk:
    """wrk, one thread."""

    name = "wrk"

    async def __call__(
        self, port: int, *, connections: int, seconds: float, users: int, first: int | None = None
    ) -> Load:
        numbers = (str(users), str(random.randrange(users) if first is None else first))
        # wrk knows whole seconds only.
        options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(_SCRIPT)]
        async with Process.start("wrk", *options, f"http://127.0.0.1:{port}/v1/orders/7", "--", *numbers) as process:
            await process.ends()
        told = json.loads(process.output.rpartition("BENCH ")[2])
        if told["broken"]:
            raise RuntimeError(f"{told['broken']} connections broke or timed out")
        return Load(told["requests"], told["refused"], told["seconds"], told["p50"], told["p99"])


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[bytes], took: list[float]) -> None:
        self._requests = requests
        self._took = took
        self._parser = HttpResponseParser(self)
        self.refused = 0
        self.broken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._took.append((time.perf_counter() - self._asked) * 1000)
        self.refused += self._parser.get_status_code() >= _REFUSED
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.broken = exc is not None

    def stop(self) -> None:
        self._transport.abort()


class Python:
    """A load generator of our own. It takes about as much CPU as what it measures: throughput is its own."""

    name = "a small Python client, for want of wrk: throughput is bounded by it, CPU per request is not"

    async def __call__(
        self, port: int, *, connections: int, seconds: float, users: int, first: int | None = None
    ) -> Load:
        begin = random.randrange(users) if first is None else first
        form = "GET /v1/orders/7 HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nX-User-Id: {}\r\n\r\n"
        requests = (form.format(port, number % users).encode() for number in itertools.count(begin))
        took: list[float] = []
        loop, start = asyncio.get_running_loop(), time.perf_counter()
        clients: list[_Client] = []
        for _ in range(connections):
            _, client = await loop.create_connection(lambda: _Client(requests, took), "127.0.0.1", port)
            clients.append(client)
        await asyncio.sleep(seconds)
        requests_answered, refused = len(took), sum(client.refused for client in clients)
        broken = sum(client.broken for client in clients)
        for client in clients:
            client.stop()
        if broken:
            raise RuntimeError(f"{broken} connections broke")
        ordered = sorted(took)
        return Load(
            requests_answered,
            refused,
            time.perf_counter() - start,
            ordered[len(ordered) // 2],
            ordered[len(ordered) * 99 // 100],
        )


def generator(name: str | None = None) -> Generator:
    """wrk where it is installed; or the one that is called for."""
    return Wrk() if name == "wrk" or (name is None and find("wrk")) else Python()
