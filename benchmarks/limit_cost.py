"""What do limits add? And do bodies stream?

    .venv/bin/python -m benchmarks.limit_cost [--seconds 4] [--rounds 5] [--only NAME,NAME]

Latency: one connection, 200 requests a second, through the same gateway with its limits (two buckets in Redis) and
without any, in turn; nginx shows what forwarding costs in any case. Latency counts from the moment a request is sent.
p50 is the median of the runs' medians, p99 that of all their requests together. Note: at this rate a core goes to sleep
between two requests, and waking it up is part of all figures.

Streaming: a body of 1 GiB down and one up, through the gateway with its limits and through nginx without any, in turn.
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
from benchmarks.kit.peers import GATEWAY, NGINX, UNLIMITED
from benchmarks.kit.percentile import percentile
from benchmarks.kit.report import Report, Table, Target
from benchmarks.kit.sample import spread
from benchmarks.kit.streaming import download, measure_streaming, upload

_PACE = 200.0
_MOST_P50, _MOST_P99 = 0.25, 1.0
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
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(bench.origin())
        running = await bench.gather(stack, (GATEWAY, UNLIMITED, NGINX), origin, GENEROUS, report)

        async def run(peer: Running) -> list[float]:
            return await asyncio.to_thread(paced, peer.port, rate=_PACE, seconds=bench.seconds, users=USERS)

        rounds = await bench.turns({peer.name: functools.partial(run, peer) for peer in running}, report)
    table = Table([f"one connection, {_PACE:.0f} requests a second", "p50 ms", "p99 ms"])
    for name, answers in rounds.items():
        table.rows.append([name, spread([median(each) for each in answers], 3), f"{_p99(answers):.3f}"])
    report.tables.append(table)
    on, off = rounds.get(GATEWAY.name), rounds.get(UNLIMITED.name)
    report.targets += [
        Target("p50 that limits add, ms", _MOST_P50, _p50(on) - _p50(off) if on and off else None, digits=3),
        Target("p99 that limits add, ms", _MOST_P99, _p99(on) - _p99(off) if on and off else None, digits=3),
    ]


def _p50(answers: Sequence[Sequence[float]]) -> float:
    return median(median(each) for each in answers)


def _p99(answers: Sequence[Sequence[float]]) -> float:
    return percentile((took for each in answers for took in each), 99)


async def _streaming(bench: Bench, report: Report) -> None:
    size = 1 << (24 if bench.quick else 30)
    transfers = {"down": download, "up": upload}
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(bench.origin(PYTHON_ORIGIN))
        running = await bench.gather(stack, (GATEWAY, NGINX), origin, GENEROUS, Report("", "", ""))
        runs = {
            f"{peer.name}, {way}": functools.partial(measure_streaming, peer, transfer, size)
            for way, transfer in transfers.items()
            for peer in running
        }
        flows = await bench.turns(runs, report)
    table = Table([f"one body of {size >> 20} MiB", "MiB/s", "CPU ms", "memory grew, MiB"])
    for name, found in flows.items():
        rates, cpu = [each.rate for each in found], median(each.cpu for each in found)
        table.rows.append([name, spread(rates), f"{cpu:.0f}", f"{max(each.growth for each in found):.1f}"])
    report.tables.append(table)
    for way in transfers:
        ours, theirs = flows.get(f"{GATEWAY.name}, {way}"), flows.get(f"{NGINX.name}, {way}")
        share = median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True)) if ours and theirs else None
        grew = max(each.growth for each in ours) if ours else None
        report.targets += [
            Target(f"throughput {way}, gateway / nginx", _LEAST_THROUGHPUT, share, at_least=True),
            Target(f"memory that a body {way} takes, MiB", _FLAT, grew, digits=1),
        ]


if __name__ == "__main__":
    command(__doc__, limit_cost)
