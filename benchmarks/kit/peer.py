"""`Peer`: a proxy that is compared, as data; and how one is started."""

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from benchmarks.kit.machine import CORES, is_running, on
from benchmarks.kit.programs import ENVIRONMENT, PYTHON, find, version
from tests.kit.process import ROOT, Process
from tests.redis_server import RedisServer, free_port, redis_server

_FOLDER = Path(__file__).parents[1] / "peers"
_PATIENCE = 15.0
"""Seconds after which a peer that does not answer is left out."""


class Allowance(NamedTuple):
    """What a bucket allows: `burst` tokens, of which `tokens` come back in `seconds`."""

    burst: int
    tokens: int
    seconds: int

    def values(self, bucket: str) -> dict[str, object]:
        """As configurations name them."""
        interval = self.seconds * 1_000_000 // self.tokens
        return {f"{bucket}_{name}": value for name, value in (*self._asdict().items(), ("interval", interval))}


class Limits(NamedTuple):
    """A user's bucket and the endpoint's."""

    user: Allowance
    endpoint: Allowance


_PLENTY = Allowance(100_000_000, 1000, 1)
GENEROUS = Limits(Allowance(1_000_000, 10, 1), _PLENTY)
"""Nobody is ever refused."""

STINGY = Limits(Allowance(1, 1, 3600), _PLENTY)
"""One request an hour."""


@dataclass(frozen=True)
class Peer:
    """A proxy that is compared.

    Attributes:
        name: In tables.
        programs: Without which it is left out.
        files: Of `benchmarks/peers`, in which ``@name@`` stands for a value.
        commands: That start it, the proxy last.
        version: Prints its version.
        values: For the files and commands, beside those that all have.
        environment: For the commands.
        redis: Whether it asks a Redis; each has one of its own.
    """

    name: str
    programs: tuple[str, ...]
    files: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    version: tuple[str, ...]
    values: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    redis: bool = True

    def lacks(self) -> str:
        """What is not installed; empty if nothing."""
        return ", ".join(program for program in self.programs if find(program) is None)

    def says_version(self) -> str:
        return version(self.version)


class Running(NamedTuple):
    """A peer that runs."""

    name: str
    port: int
    leaders: Sequence[int]
    redis: RedisServer | None


class StartError(Exception):
    """A peer could not be started."""


@asynccontextmanager
async def start(
    peer: Peer, origin: int, limits: Limits, files: Mapping[str, str] | None = None, **values: object
) -> AsyncIterator[Running]:
    """Run a peer while the block runs.

    Args:
        peer: Which.
        origin: Port of the origin.
        limits: What it allows.
        files: Texts instead of those in `benchmarks/peers`.
        values: Instead of the peer's own; `cores` is not for the files, but where it runs.

    Raises:
        StartError: it does not answer.
    """
    cores = values.pop("cores", CORES.peer)
    assert isinstance(cores, frozenset)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder())
        redis = await stack.enter_async_context(redis_server()) if peer.redis else None
        script = (_FOLDER / "bucket.lua").read_text()
        known = {
            "port": free_port(), "spare": free_port(), "unused": free_port(), "unused_too": free_port(),
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
        processes = []
        for command in peer.commands:
            with on(cores):
                starting = Process.start(*(fill(word, known) for word in command), cwd=ROOT, env=environment)
                processes.append(await stack.enter_async_context(starting))
        running = Running(peer.name, int(str(known["port"])), [process.pid for process in processes], redis)
        await _answers(running, processes)
        yield running


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx, started by root, works as somebody else
        yield folder


def fill(text: str, values: Mapping[str, object]) -> str:
    """Put values where ``@name@`` stands; what is filled in may have such places itself."""
    while (filled := re.sub(r"@(\w+)@", lambda form: str(values.get(form[1], "")), text)) != text:
        text = filled
    return text


async def _load(port: int, script: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = script.encode()
    writer.write(b"*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%d\r\n%b\r\n" % (len(body), body))
    await reader.readuntil(b"\r\n")
    writer.close()
    await writer.wait_closed()


async def ask(port: int, user: str) -> int:
    """The status of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /v1/orders/7 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-User-Id: {user}\r\n\r\n".encode())
        line = await reader.readline()
    finally:
        writer.close()
    return int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0


async def _answers(running: Running, processes: Sequence[Process]) -> None:
    """Wait until an answer comes through."""
    said: object = "nothing"
    try:
        async with asyncio.timeout(_PATIENCE):
            while said != HTTPStatus.OK:
                for process in processes:
                    if not is_running(process.pid):
                        await process.ends()  # by then all that it said has been read
                        raise StartError(_complaint(process.output))
                await asyncio.sleep(0.05)
                try:
                    said = await ask(running.port, "the first")
                except OSError as error:
                    said = error
    except TimeoutError:
        raise StartError(f"it answered {said}; {_complaint(processes[-1].output)}") from None


def _complaint(output: str) -> str:
    """The line of a program's last words that says the most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if re.search(r"[Ee]rror|emerg|annot|ALERT", line)), lines[-1])[:160]
