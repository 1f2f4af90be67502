"""Where does the CPU time go?

    .venv/bin/python -m benchmarks.profile [--seconds 4] [--build both]

The loads of `request_cost`, `refusal_cost` and `check_limit_cost`, on each build of the gateway: one run alone, which
says what a request costs, and one beside each profiler, which says how that is divided. The profilers take samples.

* perf sees the kernel, the libraries, and the functions of compiled modules (Debian: linux-perf). Of a compiled module
  it counts its own machine code; what that calls in Python's library counts as Python.
* py-spy sees functions in Python (benchmarks/install.sh has it). What such a function calls in C counts as its own; so
  `asyncio/runners.py` is the event loop. It is used for pure Python only, since it does not see compiled modules.

What is below a hundredth of all is left out. A profiler that is not installed is left out, too.
"""

import asyncio
import re
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from benchmarks.kit.bench import CONNECTIONS, USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.load import Load
from benchmarks.kit.machine import processes
from benchmarks.kit.peer import GENEROUS, STINGY, Limits, Peer, Running, start
from benchmarks.kit.peers import CHECK_LIMIT, GATEWAY
from benchmarks.kit.programs import PATH, find
from benchmarks.kit.report import Report, Table
from tests.kit.process import run

_RATE = "499"
"""Samples a second. A round number could keep step with a timer."""

_GROUPS = {
    "kernel": r"^\[(?!vdso)",
    "gateway, compiled": r"__mypyc",
    "event loop: uvloop": r"^loop\.",
    "HTTP and headers: llhttp, multidict": r"^(_http_parser|parser|_multidict|_quoting_c)\.",
    "Redis' replies: hiredis": r"^hiredis",
    "Python": r"python3",
    "C library and others": r"",
}
"""By the name of the file that has the code; the first that matches."""

_MODULE = re.compile(r"__mypyc\S+ CPy(?:Def|Py)_(.+?)___")
_LEAST = 0.01
"""Share of the CPU, below which a module is left out."""


async def profile(bench: Bench) -> Report:
    report = Report("profile", "Where does the CPU time go?", __doc__ or "")
    bench.times = 1
    groups, modules = dict[str, list[str]](), list[Table]()
    async with bench.origin() as origin:
        for name, peer, limits, users in _loads(bench):
            if not bench.installed([peer], report):
                continue
            async with start(peer, origin, limits) as running:
                bench.other_load.sample(0.05 if bench.quick else 0.5)
                status = HTTPStatus.TOO_MANY_REQUESTS if limits is STINGY else HTTPStatus.OK
                cost = (await bench.run(running, users=users, status=status)()).cpu
                symbols = await _beside(bench, running, users, _perf)
                own = by_module(symbols) if peer.programs else await _beside(bench, running, users, _py_spy)
            found = by_group(symbols)
            groups[name] = [f"{cost:.0f}", *(f"{found[group] * cost:.1f}" for group in _GROUPS)]
            table = Table([f"{name}: modules and functions", "CPU µs a request"])
            table.rows += [(module, f"{share * cost:.1f}") for module, share in own.items() if share >= _LEAST]
            modules.append(table)
    table = Table(["CPU µs a request", *groups])
    table.rows += zip(("all", *_GROUPS), *groups.values(), strict=True)
    report.tables += [table, *modules]
    report.facts = list(dict.fromkeys(report.facts))
    report.skipped += [f"{name}: SKIPPED, not installed" for name in ("perf", "py-spy") if not find(name)]
    return report


def _loads(bench: Bench) -> Iterator[tuple[str, Peer, Limits, int]]:
    """What is measured: its name, the peer, what its limits allow, and how many users there are."""
    for build, check in zip(bench.builds(GATEWAY), bench.builds(CHECK_LIMIT), strict=True):
        yield f"{build.name}, allowed", build, GENEROUS, USERS
        yield f"{build.name}, refused", build, STINGY, 1
        yield check.name, check, GENEROUS, USERS


Profiler = Callable[[int, int, Path], Awaitable[Counter[str]]]
"""Takes samples of a process and its workers for so many seconds, into a file. Returns how often it saw what."""


async def _beside(bench: Bench, peer: Running, users: int, profiler: Profiler) -> dict[str, float]:
    """The shares that a profiler sees while the peer is under load, the largest first."""
    seconds = max(1, round(bench.seconds))
    load = Load(peer.port, CONNECTIONS, seconds + 2, users, question=peer.question)
    with tempfile.TemporaryDirectory() as folder:
        async with asyncio.TaskGroup() as group:
            group.create_task(bench.load(load))
            seen = await profiler(peer.leaders[-1], seconds, Path(folder) / "samples")
    return {what: count / seen.total() for what, count in seen.most_common()}


async def _perf(leader: int, seconds: int, file: Path) -> Counter[str]:
    """Files that have code, each with a function in it; nothing without perf."""
    if not find("perf"):
        return Counter()
    pids = ",".join(map(str, processes(leader)))
    await _run("perf", "record", "--quiet", "-F", _RATE, "-o", str(file), "-p", pids, "--", "sleep", str(seconds))
    lines = await _run("perf", "script", "-i", str(file), "-F", "ip,sym,dso")
    found = re.findall(r"^ *[0-9a-f]+ (.*) \((.*)\)$", lines, re.MULTILINE)
    return Counter(f"{Path(library).name} {function}" for function, library in found)


async def _py_spy(leader: int, seconds: int, file: Path) -> Counter[str]:
    """Modules in Python, by their paths; nothing without py-spy."""
    if not find("py-spy"):
        return Counter()
    options = ("--subprocesses", "--nonblocking", "--rate", _RATE, "--duration", str(seconds))
    await _run("py-spy", "record", *options, "--format", "raw", "--output", str(file), "--pid", str(leader))
    stacks = await asyncio.to_thread(file.read_text)
    seen: Counter[str] = Counter()
    for path, count in re.findall(r"\(([^()]*):\d+\) (\d+)$", stacks, re.MULTILINE):
        seen[path] += int(count)
    return seen


async def _run(*command: str) -> str:
    code, output = await run(*command, env={"PATH": PATH})
    if code:
        raise RuntimeError(f"{command[0]} failed: {output.strip()[-200:]}")
    return output


def by_group(symbols: Mapping[str, float]) -> Counter[str]:
    """The sum of each group."""
    found: Counter[str] = Counter()
    for symbol, share in symbols.items():
        found[next(group for group, pattern in _GROUPS.items() if re.search(pattern, symbol))] += share
    return found


def by_module(symbols: Mapping[str, float]) -> dict[str, float]:
    """Compiled modules, and functions of everything else but the kernel; the largest first."""
    found: Counter[str] = Counter()
    for symbol, share in symbols.items():
        if not re.search(_GROUPS["kernel"], symbol):
            module = _MODULE.search(symbol)
            found[f"gateway, {module[1]}" if module else symbol] += share
    return dict(found.most_common())


if __name__ == "__main__":
    command(__doc__, profile)
