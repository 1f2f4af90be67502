"""How long does a start take?

    .venv/bin/python -m benchmarks.start_time [--rounds 5] [--build both] [--only NAME,NAME]

From the start of the process to its first response from the origin, with rules, Redis and one worker. A request is sent
every ten milliseconds. The plain aiohttp proxy shows what Python and the libraries take in any case. Byte code has been
compiled before.
"""

import functools
from statistics import median

from benchmarks.kit.bench import Bench
from benchmarks.kit.command import command
from benchmarks.kit.peer import GENEROUS, Peer, StartError, start
from benchmarks.kit.peers import GATEWAY, PLAIN_AIOHTTP
from benchmarks.kit.report import Report, Table, Target
from benchmarks.kit.sample import spread

_MOST = 1.0
"""Seconds."""


async def start_time(bench: Bench) -> Report:
    report = Report("start-time", "How long does a start take?", __doc__ or "")
    builds = bench.builds(GATEWAY)
    async with bench.origin() as origin:

        async def run(peer: Peer) -> float:
            try:
                async with start(peer, origin, GENEROUS) as running:
                    return running.started_in
            except StartError as error:
                raise RuntimeError(str(error)) from None

        peers = bench.installed((*builds, PLAIN_AIOHTTP), report)
        found = await bench.turns({peer.name: functools.partial(run, peer) for peer in peers}, report)
    table = Table(["peer", "seconds to the first response"])
    table.rows += [[name, spread(seconds, 2)] for name, seconds in found.items()]
    report.tables.append(table)
    for build in builds:
        seconds = median(found[build.name]) if build.name in found else None
        report.targets.append(
            Target(f"seconds from start to first response, {build.name}", _MOST, seconds, "storms-and-starts")
        )
    return report


if __name__ == "__main__":
    command(__doc__, start_time)
