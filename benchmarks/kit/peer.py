"""`Peer`: a proxy to compare, as data; `start` runs it."""

import asyncio
import hashlib
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from benchmarks.kit.grpc_load import call
from benchmarks.kit.grpc_question import GrpcQuestion
from benchmarks.kit.load import Question, request
from benchmarks.kit.machine import CORES, is_running, on
from benchmarks.kit.programs import ENVIRONMENT, PYTHON, find, version
from tests.kit.process import ROOT, Process
from tests.redis_server import RedisServer, redis_server
from tests.reserved_port import ReservedPort

_FOLDER = Path(__file__).parents[1] / "peers"
_START_TIMEOUT = 15.0
"""Seconds after which a peer that does not respond is left out."""

_PAUSE = 0.01
"""Seconds between two requests to a peer that starts."""


class Allowance(NamedTuple):
    """What a bucket allows: `burst` tokens, of which `tokens` come back in `seconds`."""

    burst: int
    tokens: int
    seconds: int

    def values(self, bucket: str) -> dict[str, object]:
        """Under the names that configurations use."""
        interval = self.seconds * 1_000_000 // self.tokens
        return {f"{bucket}_{name}": value for name, value in (*self._asdict().items(), ("interval", interval))}


class Limits(NamedTuple):
    """A user's bucket and the endpoint's."""

    user: Allowance
    endpoint: Allowance


_PLENTY = Allowance(100_000_000, 1000, 1)
GENEROUS = Limits(Allowance(1_000_000, 10, 1), _PLENTY)
"""No request is ever refused."""

STINGY = Limits(Allowance(1, 1, 3600), _PLENTY)
"""One request an hour."""


@dataclass(frozen=True)
class Peer:
    """A proxy to compare.

    Attributes:
        name: In tables.
        programs: Programs it requires; without one of them it is left out.
        files: Files of `benchmarks/peers`, in which ``@name@`` stands for a value.
        commands: Commands that start it, the proxy last.
        version: Command that prints its version.
        values: For files and commands, in addition to those that all peers have.
        environment: Environment variables of the commands.
        redis: Whether it uses Redis; each peer has a Redis of its own.
        question: What it is asked with; None if it is a proxy.
        grpc: What it is asked with over gRPC.
    """

    name: str
    programs: tuple[str, ...]
    files: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    version: tuple[str, ...]
    values: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    redis: bool = True
    question: Question | None = None
    grpc: GrpcQuestion | None = None

    def missing(self) -> str:
        """The programs that are not installed, as text."""
        return ", ".join(program for program in self.programs if find(program) is None)

    def installed_version(self) -> str:
        return version(self.version)


class Running(NamedTuple):
    """A running peer."""

    name: str
    port: int
    leaders: Sequence[int]
    redis: RedisServer | None
    question: Question | None
    grpc: GrpcQuestion | None
    started_in: float
    """Seconds from the start of its processes to its first response."""


class StartError(Exception):
    """A peer could not be started."""


@asynccontextmanager
async def start(
    peer: Peer, origin: int, limits: Limits, files: Mapping[str, str] | None = None, **values: object
) -> AsyncIterator[Running]:
    """Run a peer while the block runs.

    Args:
        peer: The peer.
        origin: Port of the origin.
        limits: What its limits allow.
        files: Texts to use instead of the files in `benchmarks/peers`.
        values: Replace the peer's own; `cores` says on which cores it runs.

    Raises:
        StartError: it does not respond.
    """
    cores = values.pop("cores", CORES.peer)
    assert isinstance(cores, frozenset)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder())
        redis = await stack.enter_async_context(redis_server()) if peer.redis else None
        script = (_FOLDER / "bucket.lua").read_text()
        known = {
            **{name: stack.enter_context(ReservedPort()).number for name in ("port", "spare", "unused", "unused_too")},
            "origin": origin, "redis": redis.port if redis else 0, "store": redis.url if redis else "memory",
            "sha": hashlib.sha1(script.encode()).hexdigest(), "folder": folder, "python": PYTHON,
            **limits.user.values("user"), **limits.endpoint.values("endpoint"), **peer.values, **values,
        }  # fmt: skip
        if redis:
            await _load(redis.port, script)
        for name in peer.files:
            text = (files or {}).get(name) or (_FOLDER / name).read_text()
            (folder / name).write_text(fill(text, known))
        environment = {**ENVIRONMENT, **{name: fill(value, known) for name, value in peer.environment.items()}}
        processes, begin = [], time.perf_counter()
        for command in peer.commands:
            with on(cores):
                starting = Process.start(*(fill(word, known) for word in command), cwd=ROOT, env=environment)
                processes.append(await stack.enter_async_context(starting))
        port, pids = int(str(known["port"])), [process.pid for process in processes]
        await _wait_until_serving(port, peer, processes)
        yield Running(peer.name, port, pids, redis, peer.question, peer.grpc, time.perf_counter() - begin)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the workers of an nginx started by root run as another user
        yield folder


def fill(text: str, values: Mapping[str, object]) -> str:
    """Replace each ``@name@`` with its value, also within values."""
    while (filled := re.sub(r"@(\w+)@", lambda match: str(values.get(match[1], "")), text)) != text:
        text = filled
    return text


async def _load(port: int, script: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = script.encode()
    writer.write(b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%d\r\n%b\r\n" % (len(body), body))
    await reader.readuntil(b"\r\n")
    writer.close()
    await writer.wait_closed()


async def ask(port: int, user: str, question: Question | None = None, grpc: GrpcQuestion | None = None) -> int:
    """The status of one request on a connection of its own."""
    if grpc is not None:
        return await call(port, user, grpc)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(port, user, question))
        line = await reader.readline()
    finally:
        writer.close()
    return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0


async def _wait_until_serving(port: int, peer: Peer, processes: Sequence[Process]) -> None:
    """Wait until a response from the origin arrives."""
    result: object = "no response"
    try:
        async with asyncio.timeout(_START_TIMEOUT):
            while result != HTTPStatus.OK:
                for process in processes:
                    if not is_running(process.pid):
                        await process.ends()  # then all of its output has been read
                        raise StartError(_error_line(process.output))
                await asyncio.sleep(_PAUSE)
                try:
                    result = await ask(port, "the first", peer.question, peer.grpc)
                except OSError as error:
                    result = error
    except TimeoutError:
        raise StartError(f"the last result was {result}; {_error_line(processes[-1].output)}") from None


def _error_line(output: str) -> str:
    """The line of a program's output that looks most like an error, or its last two."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it printed nothing"]
    return next((line for line in lines if re.search(r"[Ee]rror|emerg|annot|ALERT", line)), " ".join(lines[-2:]))[:240]
