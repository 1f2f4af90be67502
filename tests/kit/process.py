"""The gateway and its upstreams as processes of their own, the way an operator runs them."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

from tests.waiting import DEADLINE

ROOT = Path(__file__).parents[2]


class Process:
    """A program under test. What it prints is kept, and can be waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._changed = asyncio.Condition()
        self._ended = False
        self.output = ""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def start(
        cls, *command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[Self]:
        """Run a command while the block runs; it is killed at the end if it is still there."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        started = cls(process)
        try:
            yield started
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):  # it has just ended, and asyncio has yet to hear of it
                    started.kill()
            await process.wait()
            await started._reading

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def _read(self) -> None:
        """Add whole lines to the output, as many at once as there are: each time, patterns are searched for anew."""
        assert self._process.stdout is not None
        rest = b""
        while piece := await self._process.stdout.read(1 << 16):
            lines, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                await self._add(lines + newline)
        self._ended = True
        await self._add(rest)

    async def _add(self, lines: bytes) -> None:
        async with self._changed:
            self.output += lines.decode()
            self._changed.notify_all()

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until the output has a match."""
        async with asyncio.timeout(DEADLINE), self._changed:
            while (found := re.search(pattern, self.output)) is None:
                assert not self._ended, f"ended without saying {pattern!r}:\n{self.output}"
                await self._changed.wait()
            return found

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it and all its children at once, as a power cut does."""
        os.killpg(self.pid, signal.SIGKILL)

    async def ends(self, deadline: float = DEADLINE) -> int:
        """Wait for the end. Returns the exit code."""
        async with asyncio.timeout(deadline):
            code = await self._process.wait()
            await self._reading
            return code

    @property
    def children(self) -> list[int]:
        """Processes that it has started: a gateway's workers."""
        return [int(child) for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def memory(self) -> int:
        """Bytes resident in its children."""
        return sum(resident(child) for child in self.children)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@asynccontextmanager
async def gateway(*arguments: str | Path, **env: str) -> AsyncIterator[tuple[Process, int, int]]:
    """Run `gateway serve` on free ports. Yields the process, its public port and its control port."""
    command = [sys.executable, "-m", "gateway", "serve"]
    for flag in ("--listen", "--control"):  # each may be given several times
        command += [] if flag in arguments else [flag, "127.0.0.1:0"]
    async with Process.start(*command, *arguments, env=env) as process:
        yield process, *await ports(process)


async def ports(process: Process) -> tuple[int, int]:
    """Where a gateway says that it listens: the public port and the control port."""
    public = await process.says(r"on https?://127\.0\.0\.1:(\d+)")
    control = await process.says(r"control +https?://127\.0\.0\.1:(\d+)")
    await process.says(r"\n  rules .*\n")
    return int(public[1]), int(control[1])


async def run(
    *command: str | Path, cwd: Path = ROOT, deadline: float = DEADLINE, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command to its end. Returns exit code and output."""
    async with Process.start(*command, cwd=cwd, env=env) as process:
        return await process.ends(deadline), process.output


def cli(*arguments: str | Path) -> Sequence[str | Path]:
    return (sys.executable, "-m", "gateway", *arguments)
