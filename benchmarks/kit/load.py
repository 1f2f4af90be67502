"""Load: connections that send the next request as soon as a response arrives. By wrk, or by Python if it is missing."""

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
from tests.waiting import until

_SCRIPT = Path(__file__).with_name("wrk.lua")
_REFUSED = 400


class Load(NamedTuple):
    """The result of a run.

    Attributes:
        requests: Requests that got a response.
        refused: Those among them whose status was 400 or above.
        seconds: Duration of the run.
        p50: Median latency, in milliseconds.
        p99: 99th percentile of latency, in milliseconds.
    """

    requests: int
    refused: int
    seconds: float
    p50: float
    p99: float


class Question(NamedTuple):
    """What services ask with a POST, instead of requesting an order.

    Attributes:
        path: Where they ask.
        body: In JSON; ``@user@`` stands for the user.
    """

    path: str
    body: str

    def encode(self, port: int, user: str) -> bytes:
        """The request."""
        body = self.body.replace("@user@", user)
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def request(port: int, user: str, question: Question | None = None) -> bytes:
    """A request in the name of a user: of an order, or with a question."""
    if question is not None:
        return question.encode(port, user)
    return f"GET /v1/orders/7 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-User-Id: {user}\r\n\r\n".encode()


class Generator(Protocol):
    """Generates load: `Wrk` or `Python`."""

    name: str

    async def __call__(
        self,
        port: int,
        *,
        connections: int,
        seconds: float,
        users: int,
        first: int | None = None,
        question: Question | None = None,
    ) -> Load:
        """Request an order, or ask, in the name of one user after another, from user `first` or a random one."""


class Wrk:
    """wrk, one thread."""

    name = "wrk"

    async def __call__(
        self,
        port: int,
        *,
        connections: int,
        seconds: float,
        users: int,
        first: int | None = None,
        question: Question | None = None,
    ) -> Load:
        numbers: tuple[str, ...] = (str(users), str(random.randrange(users) if first is None else first))
        # wrk accepts whole seconds only.
        if question is not None:
            numbers += question
        options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(_SCRIPT)]
        async with Process.start("wrk", *options, f"http://127.0.0.1:{port}/v1/orders/7", "--", *numbers) as process:
            await process.ends()
        result = json.loads(process.output.rpartition("BENCH ")[2])
        if result["broken"]:
            raise RuntimeError(f"{result['broken']} connections broke or timed out")
        return Load(result["requests"], result["refused"], result["seconds"], result["p50"], result["p99"])


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._parser = HttpResponseParser(self)
        self.refused = 0
        self.broken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._latencies.append((time.perf_counter() - self._sent_at) * 1000)
        self.refused += self._parser.get_status_code() >= _REFUSED
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.broken = exc is not None

    def stop(self) -> None:
        self._transport.abort()


class Python:
    """A load generator in Python. It uses about as much CPU as what it measures, which bounds the throughput."""

    name = "a Python client, since wrk is not installed: it bounds the throughput, but not the CPU per request"

    async def __call__(
        self,
        port: int,
        *,
        connections: int,
        seconds: float,
        users: int,
        first: int | None = None,
        question: Question | None = None,
    ) -> Load:
        begin = random.randrange(users) if first is None else first
        requests = (request(port, str(number % users), question) for number in itertools.count(begin))
        latencies: list[float] = []
        loop, start = asyncio.get_running_loop(), time.perf_counter()
        clients: list[_Client] = []
        for _ in range(connections):
            _, client = await loop.create_connection(lambda: _Client(requests, latencies), "127.0.0.1", port)
            clients.append(client)
        await asyncio.sleep(seconds)
        await until(lambda: bool(latencies))  # on a machine that is busy with something else
        responses, refused = len(latencies), sum(client.refused for client in clients)
        broken = sum(client.broken for client in clients)
        for client in clients:
            client.stop()
        if broken:
            raise RuntimeError(f"{broken} connections broke")
        ordered = sorted(latencies)
        return Load(
            responses,
            refused,
            time.perf_counter() - start,
            ordered[len(ordered) // 2],
            ordered[len(ordered) * 99 // 100],
        )


def generator(name: str | None = None) -> Generator:
    """The generator with this name; without a name wrk, or Python if wrk is not installed."""
    return Wrk() if name == "wrk" or (name is None and find("wrk")) else Python()
