"""What happens when many clients connect at once?

    .venv/bin/python -m benchmarks.connection_storm [--seconds 4] [--rounds 5] [--build both]

Storm: a thousand connections are opened at once, and each sends twenty requests, one after another. The figure is the
time from opening a connection to its first response: the median, the 99th percentile and the longest of a thousand.
Each needs a connection to the origin as well. No client may wait for seconds; and there is a ratio to nginx, since a
slow machine slows both.

Handshakes: one connection with 200 requests a second, as in `limit_cost`, alone, and while a client does nothing but
TLS handshakes with another listener of the same worker: with the default of `max_handshakes`, and without a bound. The
certificate has an RSA key of 2048 bits. One build of the gateway is measured, the compiled one if it is there.
"""

import asyncio
import functools
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import trustme

from benchmarks.kit.bench import USERS, Bench
from benchmarks.kit.command import command
from benchmarks.kit.paced import paced
from benchmarks.kit.peer import GENEROUS, Peer, Running, start
from benchmarks.kit.peers import GATEWAY, NGINX, NGINX_LUA
from benchmarks.kit.percentile import percentile
from benchmarks.kit.programs import PYTHON
from benchmarks.kit.report import Report, Table, Target
from benchmarks.kit.sample import spread
from benchmarks.kit.storm import storm
from gateway.settings.intake import Intake
from tests.kit.process import Process
from tests.reserved_port import ReservedPort

_CONNECTIONS, _REQUESTS = 1000, 20
_PACE = 200.0
_UNBOUNDED = 1_000_000
_SECTION = "storms-and-starts"
_LONGEST = 1000.0
"""The longest wait for a first response, in milliseconds."""

_LONGEST_OF_NGINX = 8.0
_MOST_HANDSHAKES = 1.1
"""Of those that `max_handshakes` allows."""


class _Burst(NamedTuple):
    """A run with handshakes: the latencies of the requests, in milliseconds, and the handshakes a second."""

    latencies: list[float]
    handshakes: float


async def connection_storm(bench: Bench) -> Report:
    report = Report("connection-storm", "What happens when many clients connect at once?", __doc__ or "")
    await _storm(bench, report)
    await _handshakes(bench, report)
    return report


async def _storm(bench: Bench, report: Report) -> None:
    connections, builds = 50 if bench.quick else _CONNECTIONS, bench.builds(GATEWAY)

    async def run(peer: Running) -> list[float]:
        return await asyncio.to_thread(storm, peer.port, connections=connections, requests=_REQUESTS)

    found = await bench.each((*builds, NGINX_LUA, NGINX), GENEROUS, report, run)
    table = Table([f"{connections:,} connections at once", "p50 ms", "p99 ms", "longest ms"])
    for name, rounds in found.items():
        table.rows.append([
            name,
            spread([median(each) for each in rounds], 0),
            spread([percentile(each, 99) for each in rounds], 0),
            spread([each[-1] for each in rounds], 0),
        ])  # fmt: skip
    report.tables.append(table)
    for build in builds:
        ours, theirs = found.get(build.name), found.get(NGINX.name)
        ratio = median(a[-1] / b[-1] for a, b in zip(ours, theirs, strict=True)) if ours and theirs else None
        longest = median(each[-1] for each in ours) if ours else None
        report.targets += [
            Target(f"longest wait for a first response, ms, {build.name}", _LONGEST, longest, _SECTION, digits=0),
            Target(
                f"longest wait for a first response, {build.name} / {NGINX.name}", _LONGEST_OF_NGINX, ratio, _SECTION
            ),
        ]


async def _handshakes(bench: Bench, report: Report) -> None:
    allowed = Intake().max_handshakes
    bounds = {"with max_handshakes": allowed, "without a bound": _UNBOUNDED}
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(bench.origin())
        runs: dict[str, Callable[[], object]] = {}
        for name, bound in bounds.items():
            peer, tls = await stack.enter_async_context(_with_tls(bench.one_build(GATEWAY), origin, bound))
            runs.setdefault("alone", functools.partial(_beside, bench, peer, None))
            runs[name] = functools.partial(_beside, bench, peer, tls)
        found = await bench.turns(runs, report)  # type: ignore[arg-type] # partials of a coroutine function
    table = Table([f"{_PACE:.0f} requests a second", "p50 ms", "p99 ms", "handshakes/s"])
    for name, rounds in found.items():
        table.rows.append([
            f"beside handshakes, {name}" if name in bounds else name,
            spread([median(each.latencies) for each in rounds], 2),
            spread([percentile(each.latencies, 99) for each in rounds], 2),
            spread([each.handshakes for each in rounds], 0),
        ])  # fmt: skip
    report.tables.append(table)
    bounded = found.get("with max_handshakes")
    share = median(each.handshakes for each in bounded) / allowed if bounded else None
    report.targets.append(Target("TLS handshakes a second / max_handshakes", _MOST_HANDSHAKES, share, _SECTION))


@asynccontextmanager
async def _with_tls(gateway: Peer, origin: int, max_handshakes: int) -> AsyncIterator[tuple[Running, int]]:
    """A gateway with a second listener, which has TLS; yields that one's port, too."""
    text = (Path(__file__).parent / "peers" / "gateway.yaml").read_text()
    with tempfile.TemporaryDirectory() as name, ReservedPort() as port:
        authority = trustme.CA(key_type=trustme.KeyType.RSA)
        authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA).private_key_and_cert_chain_pem.write_to_path(
            f"{name}/both.pem"
        )
        tls = f"{{host: 127.0.0.1, port: {port.number}, tls: {{certificate: {name}/both.pem, key: {name}/both.pem}}}}"
        text = text.replace("listen: 127.0.0.1:@port@", f"listen: [127.0.0.1:@port@, {tls}]", 1)
        text = text.replace("intake:\n", f"intake:\n  max_handshakes: {max_handshakes}\n")
        async with start(gateway, origin, GENEROUS, {"gateway.yaml": text}) as peer:
            yield peer, port.number


async def _beside(bench: Bench, peer: Running, tls: int | None) -> _Burst:
    if tls is None:
        return _Burst(await asyncio.to_thread(paced, peer.port, rate=_PACE, seconds=bench.seconds, users=USERS), 0.0)
    arguments = ("-m", "benchmarks.kit.storm", str(tls), str(bench.seconds))
    async with Process.start(PYTHON, *arguments) as process:
        latencies = await asyncio.to_thread(paced, peer.port, rate=_PACE, seconds=bench.seconds, users=USERS)
        await process.ends()
    return _Burst(latencies, int(process.output.split()[-1]) / bench.seconds)


if __name__ == "__main__":
    command(__doc__, connection_storm)
