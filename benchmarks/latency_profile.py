"""Where does the time of a single request go?

    .venv/bin/python -m benchmarks.latency_profile [--seconds 4] [--build both] [--only NAME,NAME]

One connection, 200 requests a second, two buckets in Redis, as in `limit_cost`. perf traces the system calls of the
gateway's worker and those of nginx with its limit in Lua (Debian: linux-perf; it has to be root, or to be allowed to
read the kernel's tracepoints). The requests with the most frequent sequence of calls are shown, with medians: when a
call begins, counted from the moment at which the request is read, and how long it takes. A wait that takes no time is
an iteration of the event loop that finds nothing to wait for. Between two calls the process computes.

Tracing makes each call some ten microseconds longer. So the figures show what happens and in which order, and where the
long parts are; the latency is that of `limit_cost`.
"""

import asyncio
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.machine import processes
from benchmarks.kit.paced import paced
from benchmarks.kit.peer import GENEROUS, Running, start
from benchmarks.kit.peers import GATEWAY, NGINX_LUA
from benchmarks.kit.programs import PATH, find
from benchmarks.kit.report import Report, Table
from tests.kit.process import run

_PACE = 200.0
_CALL = re.compile(r"^ *([\d.]+) \( *([\d.]+) ms\): .*?(\w+)\((?:ep)?fd: (\d+)", re.MULTILINE)
_SOCKET = re.compile(r"\(fd: (\d+)<socket:\[(\d+)\]>")
_KINDS = {
    **dict.fromkeys(("read", "recvfrom", "recvmsg", "readv"), "read from"),
    **dict.fromkeys(("write", "writev", "sendto", "sendmsg"), "write to"),
    **dict.fromkeys(("epoll_wait", "epoll_pwait", "epoll_pwait2"), "wait"),
}


class Call(NamedTuple):
    """A system call: what it does, when it began and how long it took, in milliseconds."""

    what: str
    began: float
    took: float


async def latency_profile(bench: Bench) -> Report:
    report = Report("latency-profile", "Where does the time of a single request go?", __doc__ or "")
    bench.times = 1
    if not find("perf"):
        report.skipped.append("perf: SKIPPED, not installed")
        return report
    async with bench.origin() as origin:
        for peer in bench.installed((*bench.builds(GATEWAY), NGINX_LUA), report):
            async with start(peer, origin, GENEROUS) as running:
                bench.other_load.sample(0.05 if bench.quick else 0.5)
                report.tables.append(await _steps(bench, running, origin))
    return report


async def _steps(bench: Bench, peer: Running, origin: int) -> Table:
    """The calls of a typical request."""
    seconds = max(1, round(bench.seconds))
    pids = ",".join(map(str, processes(*peer.leaders)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace"
        command_line = ("perf", "trace", "-p", pids, "-o", str(file), "--", "sleep", str(seconds))
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(paced, peer.port, rate=_PACE, seconds=seconds + 1, users=USERS))
            code, output = await run(*command_line, env={"PATH": PATH})
            sides = _sides(peer, origin)  # while the connections are open
        if code:
            raise RuntimeError(f"perf trace failed: {output.strip()[-200:]}")
        text = await asyncio.to_thread(file.read_text)
    requests = defaultdict[tuple[str, ...], list[list[Call]]](list)
    for calls in split(text, sides):
        requests[tuple(call.what for call in calls)].append(calls)
    typical = max(requests.values(), key=len, default=[])
    name = f"{peer.name}: {len(typical)} of {sum(map(len, requests.values()))} requests"
    table = Table([name, "begins, ms", "takes, ms"])
    for each in zip(*typical, strict=True):
        times = (median(call.began for call in each), median(call.took for call in each))
        table.rows.append((each[0].what, *(f"{time:.3f}" for time in times)))
    return table


def _sides(peer: Running, origin: int) -> dict[str, str]:
    """Who is at the other end, by the inode of a connection."""
    assert peer.redis is not None
    known = {origin: "upstream", peer.redis.port: "Redis"}
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        local, remote = (int(word.partition(":")[2], 16) for word in words[1:3])
        if local == peer.port or remote in known:
            found[words[9]] = "client" if local == peer.port else known[remote]
    return found


def split(trace: str, sides: Mapping[str, str]) -> Iterator[list[Call]]:
    """The calls of each complete request: from the one that reads it to the one that writes its response."""
    sockets = dict(_SOCKET.findall(trace))  # perf does not say it in each call
    calls: list[Call] = []
    start = 0.0
    for began, took, name, descriptor in _CALL.findall(trace):
        if name not in _KINDS:
            continue
        side = "" if _KINDS[name] == "wait" else sides.get(sockets.get(descriptor, ""), "another")
        if _KINDS[name] == "read from" and side == "client":
            calls, start = [], float(began)
        elif not calls:
            continue
        calls.append(Call(f"{_KINDS[name]} {side}".strip(), float(began) - start, float(took)))
        if _KINDS[name] == "write to" and side == "client":
            yield calls
            calls = []


if __name__ == "__main__":
    command(__doc__, latency_profile)
