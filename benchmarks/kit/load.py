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

from benchmarks.kit.grpc_question import GrpcQuestion
from benchmarks.kit.percentile import percentile
from benchmarks.kit.programs import find
from tests.kit.process import Process
from tests.waiting import until

_SCRIPT = Path(__file__).with_name("wrk.lua")
_REFUSED = 400


class Responses(NamedTuple):
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


class Load(NamedTuple):
    """What is asked of a peer: orders, or a question, in the name of one user after another.

    Attributes:
        port: Where it listens.
        connections: How many ask at the same time.
        seconds: For how long.
        users: How many there are.
        first: The number of the first one; None for a random one.
        question: What is asked instead of an order.
        grpc: The same over gRPC.
    """

    port: int
    connections: int
    seconds: float
    users: int
    first: int | None = None
    question: Question | None = None
    grpc: GrpcQuestion | None = None

    @property
    def begin(self) -> int:
        """The number of the first user."""
        return random.randrange(self.users) if self.first is None else self.first


class Generator(Protocol):
    """Generates load: `Wrk` or `Python`."""

    name: str

    async def __call__(self, load: Load) -> Responses: ...


class Wrk:
    """wrk, one thread."""

    name = "wrk"

    async def __call__(self, load: Load) -> Responses:
        seconds = max(1, round(load.seconds))  # wrk accepts whole seconds only
        options = ["-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(_SCRIPT)]
        address = f"http://127.0.0.1:{load.port}/v1/orders/7"
        arguments = (str(load.users), str(load.begin), *(load.question or ()))
        async with Process.start("wrk", *options, address, "--", *arguments) as process:
            await process.ends()
        result = json.loads(process.output.rpartition("BENCH ")[2])
        if result["broken"]:
            raise RuntimeError(f"{result['broken']} connections broke or timed out")
        return Responses(result["requests"], result["refused"], result["seconds"], result["p50"], result["p99"])


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

    async def __call__(self, load: Load) -> Responses:
        numbers = itertools.count(load.begin)
        requests = (request(load.port, str(number % load.users), load.question) for number in numbers)
        latencies: list[float] = []
        loop, start = asyncio.get_running_loop(), time.perf_counter()
        clients: list[_Client] = []
        for _ in range(load.connections):
            _, client = await loop.create_connection(lambda: _Client(requests, latencies), "127.0.0.1", load.port)
            clients.append(client)
        await asyncio.sleep(load.seconds)
        await until(lambda: bool(latencies))  # on a machine that is busy with something else
        responses, refused = len(latencies), sum(client.refused for client in clients)
        broken = sum(client.broken for client in clients)
        for client in clients:
            client.stop()
        if broken:
            raise RuntimeError(f"{broken} connections broke")
        took = time.perf_counter() - start
        return Responses(responses, refused, took, percentile(latencies, 50), percentile(latencies, 99))


def generator(name: str | None = None) -> Generator:
    """The generator with this name; without a name wrk, or Python if wrk is not installed."""
    return Wrk() if name == "wrk" or (name is None and find("wrk")) else Python()
