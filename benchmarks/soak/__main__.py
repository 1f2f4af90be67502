"""A soak test: load on a gateway while faults are injected, after which all counts must add up.

    python -m benchmarks.soak                  ten minutes
    python -m benchmarks.soak --minutes 0.3    to try it out

It starts a Redis, an upstream and a gateway of two workers, and sends requests at a steady rate. Meanwhile rules are
reloaded, overrides set and removed; Redis hangs, dies and comes back empty; workers are killed, and replaced in
rolling restarts. In the middle of a long soak no worker is replaced, so that its memory can be judged. The exit code is
0 if all checks pass, otherwise 1.
"""

import argparse
import asyncio
import sys
import time

from benchmarks.soak.checks import Check, check
from benchmarks.soak.clients import Clients
from benchmarks.soak.environment import environment
from benchmarks.soak.faults import FaultError, Faults
from benchmarks.soak.watch import Watch

_LONG = 240.0
"""Seconds from which a soak has a middle part in which no worker is replaced."""

_SETTLING = 2.0
"""Seconds of load after the last fault, so that its consequences show."""


async def soak(seconds: float, rate: float, seed: int) -> list[Check]:
    began = time.monotonic()

    def log(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    log(f"{seconds:.0f} s at {rate:.0f} requests a second, seed {seed}")
    async with environment() as running:
        clients = Clients(running.public, rate, seed)
        faults = Faults(running, clients, seed, log)
        watch = Watch(running)
        watching = asyncio.create_task(watch.run())
        sending = asyncio.create_task(clients.run())
        failed = []
        try:
            await _inject(faults, time.monotonic(), seconds)
        except FaultError as error:
            failed.append(Check(str(error), holds=False))
        await asyncio.sleep(_SETTLING)
        clients.end()
        await sending
        watching.cancel()
        await asyncio.wait([watching])
        await watch.record()
        log("done: " + ", ".join(f"{count} x {name}" for name, count in sorted(faults.done.items())))
        checks = [*failed, *await check(running, clients, faults, watch)]
        if not all(each.holds for each in checks):
            print(running.gateway.output[-20_000:])
        return checks


async def _inject(faults: Faults, began: float, seconds: float) -> None:
    gap = min(4.0, seconds / 30)
    end = began + seconds

    async def by_operators() -> None:
        if seconds >= _LONG:
            await faults.by_operators(began + 0.3 * seconds, gap, gentle=False)
            await faults.by_operators(began + 0.8 * seconds, gap, gentle=True)
        await faults.by_operators(end, gap, gentle=False)

    async with asyncio.TaskGroup() as group:
        group.create_task(by_operators())
        group.create_task(faults.in_redis(end, 3 * gap))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="(default %(default)s)")
    parser.add_argument("--rate", type=float, default=400.0, help="requests a second (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all random choices (default %(default)s)")
    options = parser.parse_args()
    checks = asyncio.run(soak(options.minutes * 60, options.rate, options.seed))
    print(*checks, sep="\n")
    return 0 if all(each.holds for each in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
