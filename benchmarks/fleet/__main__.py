"""Plays faults to a fleet, through HTTP, and keeps the books on every request.

    python -m benchmarks.fleet                    each fault once, some three minutes
    python -m benchmarks.fleet --minutes 60       as long as that, in a random order
    python -m benchmarks.fleet --seed 7           with other random choices; the seed is printed
    python -m benchmarks.fleet --only redis       those whose names have a word
    python -m benchmarks.fleet --short            the short form, which `make test` plays

It starts two gateways of two workers each, one Redis, and two upstreams, one of which misbehaves at times. Requests
are sent before, during and after each fault, each with an id that the upstreams and the access logs note as well.
Then every request is looked up in all three, and every window of the hot users is held to the bound of docs/bound.md.
The exit code is 0 if there is no violation, otherwise 1.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.fleet.catalogue import FAULTS, Fault
from benchmarks.fleet.clients import HOT, Clients
from benchmarks.fleet.episode import Episode
from benchmarks.fleet.fleet import FaultError, Fleet, fleet
from benchmarks.fleet.ledger import Latency, Positions, excess, statuses, violations
from benchmarks.kit.report import Table

MAX_SLOWER = 20.0
"""Times the calm median that other users may wait, and not less than `FLOOR`."""

FLOOR = 100.0
"""Milliseconds: twice the longest that a request waits for Redis."""

_SHORT = 0.6
"""Seconds that a fault lasts in the short form."""

_SHOWN = 10
_COLUMNS = ["", "fault", "requests", "excess", "bound", "no Redis", "p50 calm", "p50", "p99 calm", "p99", "result"]


class Player:
    """Plays faults, one after the other.

    Args:
        running: Where.
        seed: Of all random choices.
        seconds: How long a fault lasts, more or less.
        is_short: Whether latencies are only printed, since others may use the machine.
    """

    def __init__(self, running: Fleet, seed: int, seconds: float, *, is_short: bool) -> None:
        self._fleet = running
        self._clients = Clients(running.gateways, seed)
        self._random = random.Random(seed)
        self._seconds = seconds
        self._is_short = is_short
        self._began = time.monotonic()
        self.rows: list[list[str]] = []
        self.failed = 0

    def log(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)

    async def play(self, fault: Fault) -> None:
        clients, running = self._clients, self._fleet
        self.log(f"{fault.row} {fault.name}")
        clients.begin()
        positions = Positions(running)
        episode = Episode(running, clients, self._random, self._seconds, self.log)
        degraded = await self._degraded()
        clients.phase = "calm"
        async with clients.load():
            await asyncio.sleep(self._seconds / 2)
            clients.phase = "fault"
            try:
                await fault.inject(episode)
                clients.phase = "after"
                await running.recovers()
            except FaultError as error:
                episode.failed.append(str(error))
            await asyncio.sleep(self._seconds / 4)
        took = time.monotonic() - episode.began
        # Counters of a gateway that was started again begin at 0.
        degraded = max(0.0, await self._degraded() - degraded)
        books = await positions.complete_books(clients.records, episode.lines_lost | episode.uncounted)
        found = [*episode.failed, *violations(episode, books), *self._of_all(episode, excess(books), took, degraded)]
        for text in found[:_SHOWN]:
            self.log(f"  VIOLATION {text}")
        if len(found) > _SHOWN:
            self.log(f"  and {len(found) - _SHOWN} more")
        self.failed += bool(found)
        self._note(fault, episode, excess(books), episode.bound(took, degraded), degraded, found)

    async def _degraded(self) -> float:
        return sum([await gateway.degraded() for gateway in self._fleet.gateways])

    def _of_all(self, episode: Episode, over: float, took: float, degraded: float) -> Iterator[str]:
        bound = episode.bound(took, degraded)
        if over > bound:
            yield f"{over:.1f} tokens more than refilled were spent in a window, allowed are {bound:.1f}"
        records = self._clients.records
        hot = {record.status for record in records if record.kind == HOT}
        if not {200, 429} <= hot:
            yield f"hot users got {hot}: nothing was tested"
        calm, bad = Latency.of(records, "calm"), Latency.of(records, "fault")
        if calm is None or bad is None:
            yield "no other user was served"
        elif not self._is_short and bad.p50 > max(FLOOR, MAX_SLOWER * calm.p50):
            yield f"other users waited {bad.p50:.0f} ms instead of {calm.p50:.0f} ms"

    def _note(
        self, fault: Fault, episode: Episode, over: float, bound: float, degraded: float, found: Sequence[str]
    ) -> None:
        records = self._clients.records
        calm, bad = Latency.of(records, "calm"), Latency.of(records, "fault")
        waits = ["-"] * 4
        if calm is not None and bad is not None:
            waits = [
                f"{calm.p50:.1f}", f"{bad.p50:.1f} (x {bad.p50 / calm.p50:.1f})",
                f"{calm.p99:.1f}", f"{bad.p99:.1f} (x {bad.p99 / calm.p99:.1f})",
            ]  # fmt: skip
        verdict = "; ".join([f"FAILED ({len(found)})" if found else "ok", *episode.notes])
        self.rows.append(
            [
                fault.row, fault.name, statuses(records), f"{over:.1f}", f"{bound:.0f}", f"{degraded:.0f}", *waits,
                verdict,
            ]
        )  # fmt: skip


def _order(seed: int, chosen: Sequence[Fault], minutes: float | None) -> Iterator[Fault]:
    """Each fault once; then in a random order until the time is over."""
    yield from chosen
    if minutes is not None:
        choice = random.Random(seed)
        while True:
            yield from choice.sample(chosen, len(chosen))


async def play(seed: int, chosen: Sequence[Fault], seconds: float, minutes: float | None, *, is_short: bool) -> int:
    """Play faults. Returns in how many there was a violation."""
    began = time.monotonic()
    async with fleet() as running:
        player = Player(running, seed, seconds, is_short=is_short)
        for number, fault in enumerate(_order(seed, chosen, minutes)):
            if number >= len(chosen) and minutes is not None and time.monotonic() - began > 60 * minutes:
                break
            await player.play(fault)
    print(Table(_COLUMNS, player.rows))
    print(
        f"{len(player.rows)} faults in {time.monotonic() - began:.0f} s, {player.failed} with violations; seed {seed}"
    )
    return player.failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="of all random choices (default: a random one)")
    parser.add_argument("--minutes", type=float, default=None, help="go on as long as that (default: each fault once)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each fault lasts (default %(default)s)")
    parser.add_argument("--only", default="", help="play faults whose row or name contains this")
    parser.add_argument("--short", action="store_true", help="play a part of them, each for a moment")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        del os.environ[name]  # it would double the load
    chosen = [
        fault
        for fault in FAULTS
        if options.only.lower() in f"{fault.row} {fault.name}".lower() and (fault.short or not options.short)
    ]
    if not chosen:
        parser.error(f"no fault's name contains {options.only!r}")
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    seconds = _SHORT if options.short else options.seconds
    failed = asyncio.run(play(seed, chosen, seconds, options.minutes, is_short=options.short))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
