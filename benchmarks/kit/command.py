"""`command`: the command line that all comparisons with peers share."""

import argparse
import asyncio
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from benchmarks.kit import machine
from benchmarks.kit.bench import BUILDS, Bench
from benchmarks.kit.load import generator
from benchmarks.kit.plot import plot
from benchmarks.kit.report import Report
from benchmarks.kit.summary import summarize
from tests.redis_server import binaries

Benchmark = Callable[[Bench], Coroutine[Any, Any, Report]]

_RESULTS = Path(__file__).parents[1] / "results"


def command(about: str | None, *benchmarks: Benchmark) -> None:
    """Run benchmarks, print their reports, and write them to dated files; of several, all targets in the end.

    The exit code is 0, whether targets are met or not, and 1 if something that is installed could not be measured.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each peer (default %(default)s)")
    parser.add_argument("--only", metavar="NAME,NAME", help="peers to compare, by their names in the tables")
    parser.add_argument("--build", choices=BUILDS, default="both", help="of the gateway (default %(default)s)")
    parser.add_argument("--load", choices=["wrk", "python"], help="(default: wrk if it is installed)")
    parser.add_argument("--quick", action="store_true", help="only check that all works; the figures mean nothing")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="folder for the dated files")
    options = parser.parse_args()
    os.sched_setaffinity(0, machine.CORES.rest)
    reports = []
    for benchmark in benchmarks:
        bench = Bench(
            seconds=0.2 if options.quick else options.seconds,
            times=1 if options.quick else options.rounds,
            only=frozenset(options.only.split(",")) if options.only else None,
            load=generator(options.load),
            quick=options.quick,
            build=options.build,
        )
        try:
            report = asyncio.run(benchmark(bench))
        except Exception as error:  # noqa: BLE001 - whatever it is: the other benchmarks can be run
            traceback.print_exc()
            reports.append(Report(benchmark.__name__, "", "", failed=[f"COULD NOT RUN, {error!r}"]))
            continue
        report.facts[:0] = [
            f"{machine.today()}, {machine.name()}",
            f"load from {bench.load.name}; Redis {next(iter(binaries()))}",
            str(bench.other_load),
            f"{bench.times} runs of {bench.seconds:g} s each, in turn; medians, with minimum and maximum in brackets",
        ]
        if options.quick:
            report.facts.insert(0, "QUICK: the figures mean nothing")
        if report.series:
            report.facts.append(plot(report.write_figures(options.results)))
        report.write(options.results)
        print(report, flush=True)
        reports.append(report)
    if len(benchmarks) > 1:
        summary = summarize(reports)
        summary.write(options.results)
        print(summary, flush=True)
    sys.exit(any(report.failed for report in reports))
