"""What do limits add? And do bodies stream?

    .venv/bin/python -m benchmarks.limit_cost [--seconds 4] [--rounds 5] [--build both] [--only NAME,NAME]

Latency: one connection, 200 requests a second, through the same gateway with its limits (two buckets in Redis) and
without any, in turn, and likewise through nginx with its limit in Lua and without. Latency counts from the moment a
request is sent. p50 is the median of the runs' medians, p99 that of all their requests together; what limits add to the
p50 is the median of the differences within a round. Note: at this rate a core goes to sleep between two requests, and
waking it up is part of all figures.

Streaming: a body of 1 GiB down and one up, through the gateway with its limits (the compiled build, if it
is there) and through nginx without any, in turn.
nginx is tuned for it: unbuffered upwards, large buffers and no file downwards. Client and origin are in Python and
block; they share a core, so the faster peer may wait for them. Memory is the most that the peer's processes held during
the transfer, minus what they held before; for a proxy that streams it does not depend on the length of the body.
"""

import asyncio
import functools
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median

from benchmarks.kit.bench import PYTHON_ORIGIN, USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.paced import paced
from benchmarks.kit.peer import GENEROUS, Running
from benchmarks.kit.peers import COMPILED, GATEWAY, NGINX, NGINX_LUA, UNLIMITED
from benchmarks.kit.percentile import percentile
from benchmarks.kit.report import Report, Table, Target
from benchmarks.kit.sample import spread
from benchmarks.kit.streaming import download, measure_streaming, upload

_SECTION = "iterations-of-the-event-loop-and-latency"
_STREAMING = "bodies-that-stream"
_PACE = 200.0
_MOST_P50 = {GATEWAY.name: 0.46, COMPILED.name: 0.25}
"""Milliseconds that limits may add; to pure Python what it was on 2026-11-25."""

_MOST_P99 = 1.0
"""Milliseconds that limits may add."""

_LEAST_THROUGHPUT = 0.6
"""Of nginx."""

_FLAT = 16.0
"""MiB: a body that is held in memory would be sixty times that."""


async def limit_cost(bench: Bench) -> Report:
    report = Report("limit-cost", "What do limits add?", __doc__ or "")
    await _latency(bench, report)
    await _streaming(bench, report)
    return report


async def _latency(bench: Bench, report: Report) -> None:
    with_limits = (*bench.builds(GATEWAY), NGINX_LUA)
    without = (*bench.builds(UNLIMITED), NGINX)

    async def run(peer: Running) -> list[float]:
        return await asyncio.to_thread(paced, peer.port, rate=_PACE, seconds=bench.seconds, users=USERS)

    found = await bench.each((*with_limits, *without), GENEROUS, report, run)
    table = Table([f"one connection, {_PACE:.0f} requests a second", "p50 ms", "p99 ms"])
    for name, rounds in found.items():
        table.rows.append([name, spread([median(each) for each in rounds], 3), f"{_p99(rounds):.3f}"])
    added = Table(["what limits add to", "p50 ms", "p99 ms"])
    report.tables += [table, added]
    for limited, unlimited in zip(with_limits, without, strict=True):
        on, off = found.get(limited.name), found.get(unlimited.name)
        p50 = [median(a) - median(b) for a, b in zip(on, off, strict=True)] if on and off else None
        p99 = _p99(on) - _p99(off) if on and off else None
        if p50 and p99 is not None:
            added.rows.append([limited.name, spread(p50, 3), f"{p99:.3f}"])
        if limited is not NGINX_LUA:
            report.targets += [
                Target(
                    f"p50 that limits add, ms, {limited.name}",
                    _MOST_P50[limited.name],
                    median(p50) if p50 else None,
                    _SECTION,
                    digits=3,
                ),
                Target(f"p99 that limits add, ms, {limited.name}", _MOST_P99, p99, _SECTION, digits=3),
            ]


def _p99(rounds: Sequence[Sequence[float]]) -> float:
    return percentile((took for each in rounds for took in each), 99)


async def _streaming(bench: Bench, report: Report) -> None:
    again = Report("", "", "")  # skipped are the same as before
    size = 1 << (24 if bench.quick else 30)
    transfers, gateway = {"down": download, "up": upload}, bench.one_build(GATEWAY)
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(bench.origin(PYTHON_ORIGIN))
        running = await bench.gather(stack, (gateway, NGINX), origin, GENEROUS, again)
        runs = {
            f"{peer.name}, {way}": functools.partial(measure_streaming, peer, transfer, size)
            for way, transfer in transfers.items()
            for peer in running
        }
        flows = await bench.turns(runs, report)
    report.failed += [line for line in again.failed if line not in report.failed]
    table = Table([f"one body of {size >> 20} MiB", "MiB/s", "CPU ms", "memory grew, MiB"])
    for name, found in flows.items():
        rates, cpu = [each.rate for each in found], median(each.cpu for each in found)
        table.rows.append([name, spread(rates), f"{cpu:.0f}", f"{max(each.growth for each in found):.1f}"])
    report.tables.append(table)
    pair = f"{gateway.name} / {NGINX.name}"
    for way in transfers:
        ours, theirs = flows.get(f"{gateway.name}, {way}"), flows.get(f"{NGINX.name}, {way}")
        share = median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True)) if ours and theirs else None
        grew = max(each.growth for each in ours) if ours else None
        report.targets += [
            Target(f"throughput {way}, {pair}", _LEAST_THROUGHPUT, share, _STREAMING, at_least=True),
            Target(f"memory that a body {way} takes, MiB, {gateway.name}", _FLAT, grew, _STREAMING, digits=1),
        ]


if __name__ == "__main__":
    command(__doc__, limit_cost)
