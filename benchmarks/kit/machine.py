"""The machine: its cores, what runs on which, what processes have used, and what else keeps it busy."""

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.kit.programs import COMPILED_BIN, PYTHON, find

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class Cores(NamedTuple):
    """What runs where.

    Attributes:
        peer: The peer that is measured, and its helper processes.
        rest: The load, the origin and Redis.
    """

    peer: frozenset[int]
    rest: frozenset[int]


_ALL = sorted(os.sched_getaffinity(0))
CORES = Cores(frozenset(_ALL[-1:]), frozenset(_ALL[:-1] or _ALL))


@contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """Start processes on these cores: they inherit this process's affinity."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Usage(NamedTuple):
    """What processes have used so far.

    Attributes:
        cpu: Seconds, including the kernel's work for them.
        memory: Resident bytes now.
    """

    cpu: float
    memory: int


def usage(*leaders: int) -> Usage:
    """The usage of these processes, and of all in the sessions that they lead."""
    cpu, memory = 0, 0
    for fields in _processes(*leaders).values():
        cpu += int(fields[11]) + int(fields[12])
        memory += int(fields[21])
    return Usage(cpu / _TICK, memory * os.sysconf("SC_PAGE_SIZE"))


def processes(*leaders: int) -> list[int]:
    """The ids of these processes, and of all in the sessions that they lead."""
    return list(_processes(*leaders))


def _processes(*leaders: int) -> dict[int, list[str]]:
    """What /proc says of each in its stat, after its name."""
    found = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just exited
        if int(folder.name) in leaders or int(fields[3]) in leaders:
            found[int(folder.name)] = fields
    return found


def is_running(pid: int) -> bool:
    return (_PROC / str(pid)).exists()


class OtherLoad:
    """The load of other processes on this machine. Call `sample` while no benchmark runs."""

    def __init__(self) -> None:
        self._shares: list[float] = []

    def sample(self, seconds: float) -> None:
        idle = self._idle()
        time.sleep(seconds)
        share = 1 - (self._idle() - idle) / seconds / (os.cpu_count() or 1)
        self._shares.append(min(1.0, max(0.0, share)))

    @staticmethod
    def _idle() -> float:
        words = (_PROC / "stat").read_text().split(maxsplit=6)
        return (int(words[4]) + int(words[5])) / _TICK

    def __str__(self) -> str:
        typical, most = median(self._shares), max(self._shares)
        text = f"other processes used {typical:.0%} of the machine between the runs, {most:.0%} at most"
        return text if most <= 0.1 else f"{text}: MEASURED UNDER LOAD, only the ratios mean anything"


def name() -> str:
    """A description of the machine."""
    found = re.search(r"model name\s*: (.*)", (_PROC / "cpuinfo").read_text())
    model = found[1].strip() if found else platform.machine()
    other = str(COMPILED_BIN / "python")
    compiled = f", the compiled build on {_python(other)}" if find(other) else ""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{model}, {len(_ALL)} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {_python(PYTHON)}{compiled}; the measured process on core {_list(CORES.peer)}, "
        f"load, origin and Redis on {_list(CORES.rest)}"
    )


def _python(program: str) -> str:
    """Version and home of an interpreter."""
    script = "import platform, sys; print(platform.python_version(), 'of', sys.base_prefix)"
    return subprocess.run([program, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def _list(cores: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cores)))


def today() -> str:
    return datetime.now(UTC).date().isoformat()
