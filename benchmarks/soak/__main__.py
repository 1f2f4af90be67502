"""A soak: load on a gateway to which everything happens that can, and an account of it that has to add up.

    python -m benchmarks.soak                  ten minutes
    python -m benchmarks.soak --minutes 0.3    a try

It starts a Redis, an upstream and a gateway of two workers, and sends requests at a steady rate. Meanwhile rules are
reloaded, overrides set and removed; Redis hangs, dies and comes back empty; workers are killed, and relieved in rolling
restarts. In the middle of a long soak no worker is replaced, so that its memory can be seen to stay as it is. Exit code
0 if all holds, 1 if not.
"""

import argparse
import asyncio
import sys
import time

from benchmarks.soak.checks import Finding, findings
from benchmarks.soak.clients import Crowd
from benchmarks.soak.environment import world
from benchmarks.soak.faults import Trouble, TroubleError
from benchmarks.soak.watch import Watch

_LONG = 240.0
"""Seconds from which on a soak has a middle in which no worker is replaced."""

_SETTLING = 2.0
"""Seconds of load after the last trouble, so that what it did is seen."""


async def soak(seconds: float, rate: float, seed: int) -> list[Finding]:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    say(f"{seconds:.0f} s at {rate:.0f} requests a second, seed {seed}")
    async with world() as here:
        crowd = Crowd(here.public, rate, seed)
        trouble = Trouble(here, crowd, seed, say)
        watch = Watch(here)
        watching = asyncio.create_task(watch.run())
        asking = asyncio.create_task(crowd.run())
        failed = []
        try:
            await _make(trouble, time.monotonic(), seconds)
        except TroubleError as error:
            failed.append(Finding(str(error), holds=False))
        await asyncio.sleep(_SETTLING)
        crowd.end()
        await asking
        watching.cancel()
        await asyncio.wait([watching])
        await watch.look()
        say("done: " + ", ".join(f"{count} x {name}" for name, count in sorted(trouble.done.items())))
        found = [*failed, *await findings(here, crowd, trouble, watch)]
        if not all(each.holds for each in found):
            print(here.gateway.output[-20_000:])
        return found


async def _make(trouble: Trouble, began: float, seconds: float) -> None:
    gap = min(4.0, seconds / 30)
    end = began + seconds

    async def of_operators() -> None:
        if seconds >= _LONG:
            await trouble.of_operators(began + 0.3 * seconds, gap, gentle=False)
            await trouble.of_operators(began + 0.8 * seconds, gap, gentle=True)
        await trouble.of_operators(end, gap, gentle=False)

    async with asyncio.TaskGroup() as group:
        group.create_task(of_operators())
        group.create_task(trouble.of_redis(end, 3 * gap))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="(default %(default)s)")
    parser.add_argument("--rate", type=float, default=400.0, help="requests a second (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all that happens (default %(default)s)")
    options = parser.parse_args()
    found = asyncio.run(soak(options.minutes * 60, options.rate, options.seed))
    print(*found, sep="\n")
    return 0 if all(each.holds for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
