"""How does it grow?

    .venv/bin/python -m benchmarks.growth [--seconds 4] [--rounds 5] [--build both]

One build of the gateway alone, the compiled one if it is there, under the load of `request_cost`, with one parameter
varied at a time; its values are measured in turn, and each has a gateway and a Redis of its own:

* workers: 1 and 2, on all cores together with load, origin and Redis. The figure is throughput. On a machine with two
  cores it cannot double, since load, origin and Redis need both as well.
* endpoints in the rules: 10 to 10,000, of which each request matches one.
* limits: 1 to 50, all of them charged by each request, every other one by user.
* users: 1 to 1,000,000, each of whom sent at least one request before, after which their bucket is stored for ten
  minutes. So Redis and the worker hold as many buckets. These values are measured one after the other, not in turn,
  since a million requests take their time.
* open connections: 1 to 5,000. Redis' CPU for a decision is read from these runs, up to 256 connections: the
  higher the load, the more checks share a call, so it must fall.

Memory is resident memory; what workers share is counted for each of them.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from benchmarks.kit.bench import CONNECTIONS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.load import Load
from benchmarks.kit.machine import CORES
from benchmarks.kit.peer import GENEROUS, Allowance, Limits, start
from benchmarks.kit.peers import GATEWAY
from benchmarks.kit.redis_count import redis_counts
from benchmarks.kit.report import Report, Series, Table, Target
from benchmarks.kit.sample import Sample, middle, spread

_WORKERS: Sequence[int] = (1, 2)
_ENDPOINTS: Sequence[int] = (10, 100, 1000, 10_000)
_LIMITS: Sequence[int] = (1, 2, 5, 10, 20, 50)
_USERS: Sequence[int] = (1, 1000, 100_000, 1_000_000)
_OPEN: Sequence[int] = (1, 4, 16, 64, 256, 1000, 5000)
_QUICK = 1
"""Values of each parameter with --quick."""

_MOST_BUSY = 256
"""Connections up to which the CPU of Redis is compared: the number of checks in one call is bounded."""

_OWING = Limits(Allowance(1_000_000, 1, 600), GENEROUS.endpoint)
"""A user's bucket is stored for ten minutes after one request."""

Points = dict[int, list[Sample]]


async def growth(bench: Bench) -> Report:
    report = Report("growth", "How does it grow?", __doc__ or "")
    gateway, cut = bench.one_build(GATEWAY), slice(_QUICK if bench.quick else None)
    report.facts.append(f"measured: {gateway.name}, version {gateway.installed_version()}")
    async with bench.origin() as origin:
        workers = await _sweep(bench, origin, report, "workers", _WORKERS[cut])
        endpoints = await _sweep(bench, origin, report, "endpoints", _ENDPOINTS[cut])
        limits = await _sweep(bench, origin, report, "limits", _LIMITS[cut])
        connections = await _sweep(bench, origin, report, "open connections", _OPEN[cut])
        users = await _users(bench, origin, report, _USERS[cut])
    for thing, points in (
        ("workers", workers), ("endpoints", endpoints), ("limits", limits), ("open connections", connections),
        ("users", users),
    ):  # fmt: skip
        _add_results(report, thing, points)
    falls = {count: middle(samples).redis_cpu for count, samples in connections.items() if count <= _MOST_BUSY}
    report.series.append(
        Series("Redis as load rises", "open connections", "Redis CPU µs a decision", list(falls.items()))
    )
    busy, calm = (falls.get(end) for end in (max(falls, default=0), min(falls, default=0)))
    measured = busy / calm if busy and calm else None
    report.targets.append(Target("Redis CPU a decision, most connections / one", 1.0, measured, "how-it-grows"))
    return report


async def _sweep(bench: Bench, origin: int, report: Report, thing: str, values: Sequence[int]) -> Points:
    """Run gateways side by side, and measure them in turn."""
    async with AsyncExitStack() as stack:
        runs = {}
        for value in values:
            rules = {"rules.yaml": _rules(**{thing: value})} if thing in {"endpoints", "limits"} else {}
            wanted = {"workers": value, "cores": CORES.peer | CORES.rest} if thing == "workers" else {}
            peer = await stack.enter_async_context(start(bench.one_build(GATEWAY), origin, GENEROUS, rules, **wanted))
            connections = value if thing == "open connections" else CONNECTIONS
            runs[f"{value} {thing}"] = bench.run(peer, connections=connections)
        found = await bench.turns(runs, report)
    return {int(name.split()[0]): samples for name, samples in found.items()}


async def _users(bench: Bench, origin: int, report: Report, values: Sequence[int]) -> Points:
    """Measure gateways one after the other, since each must see all of its users first."""
    points: Points = {}
    for value in values:
        async with start(bench.one_build(GATEWAY), origin, _OWING) as peer:
            known = 0
            while known < value:
                done = await bench.load(Load(peer.port, CONNECTIONS, bench.seconds, value, first=known % value))
                known += done.requests
            found = await bench.turns({f"{value} users": bench.run(peer, users=value)}, report)
            for samples in found.values():
                points[value] = samples
            counts = await redis_counts(peer.redis)
            report.facts.append(f"{value} users: Redis holds {counts.memory / 2**20:.0f} MiB")
    return points


def _rules(endpoints: int = 1, limits: int = 2) -> str:
    """Rules with so many endpoints, the requested one in the middle, and so many limits, each on all endpoints."""
    allowance = GENEROUS.endpoint
    size = f"rate: {allowance.tokens}/{allowance.seconds}s, burst: {allowance.burst}"
    others = [f'  - {{name: e{number}, path: "/v1/things{number}/{{id}}"}}' for number in range(endpoints - 1)]
    ours = '  - {name: orders, path: "/v1/orders/{id}"}'
    lines = ["endpoints:", *others[: endpoints // 2], ours, *others[endpoints // 2 :], "limits:"]
    lines += [
        f"  - {{name: l{number}, per: {'user' if number % 2 else 'endpoint'}, {size}}}" for number in range(limits)
    ]
    return "\n".join(lines) + "\n"


def _add_results(report: Report, thing: str, points: Points) -> None:
    table = Table([thing, "CPU µs a request", "requests/s", "p99 ms", "Redis CPU µs", "memory MiB"])
    for value, samples in points.items():
        mid = middle(samples)
        table.rows.append([
            f"{value:,}",
            spread([sample.cpu for sample in samples]),
            spread([sample.rate for sample in samples]),
            f"{mid.p99:.2f}",
            f"{mid.redis_cpu:.1f}",
            f"{mid.memory:.0f}",
        ])  # fmt: skip
    report.tables.append(table)
    if thing == "workers":
        shown = [(value, middle(samples).rate) for value, samples in points.items()]
        report.series.append(Series("Throughput by workers", thing, "requests/s", shown))
    else:
        shown = [(value, middle(samples).cpu) for value, samples in points.items()]
        report.series.append(Series(f"A request's CPU by {thing}", thing, "µs", shown))


if __name__ == "__main__":
    command(__doc__, growth)
