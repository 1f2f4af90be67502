"""`Bench`: what the four benchmarks have in common: their options, an origin, peers that run side by side."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

from benchmarks.kit import machine
from benchmarks.kit.load import Generator
from benchmarks.kit.peer import GENEROUS, Limits, Peer, Running, StartError, ask, start
from benchmarks.kit.programs import PYTHON
from benchmarks.kit.report import Report
from benchmarks.kit.rounds import in_turn
from benchmarks.kit.sample import Sample, measure

T = TypeVar("T")

CONNECTIONS = 64
USERS = 10_000

_ORIGIN = Peer(
    "nginx as the origin",
    programs=("nginx",),
    files=("origin.conf",),
    commands=(("nginx", "-c", "@folder@/origin.conf"),),
    version=("nginx", "-v"),
    redis=False,
)
HOSE = Peer(
    "a small Python origin",
    programs=(),
    files=(),
    commands=((PYTHON, "-m", "benchmarks.kit.origin", "@port@"),),
    version=(PYTHON, "--version"),
    redis=False,
)


@dataclass
class Bench:
    """How to measure.

    Attributes:
        seconds: A run.
        times: How many runs each has.
        only: Names of the peers to take part; None for all.
        load: Makes load.
        quick: Whether figures do not matter, only that all works.
        neighbours: Who else is busy.
    """

    seconds: float
    times: int
    only: frozenset[str] | None
    load: Generator
    quick: bool = False
    neighbours: machine.Neighbours = field(default_factory=machine.Neighbours)

    @asynccontextmanager
    async def origin(self, peer: Peer = _ORIGIN) -> AsyncIterator[int]:
        """What stands behind the peers; yields its port."""
        chosen = HOSE if peer.lacks() or self.load.name != "wrk" else peer
        async with start(chosen, 0, GENEROUS, cores=machine.CORES.rest) as running:
            yield running.port

    async def gather(
        self, stack: AsyncExitStack, peers: Sequence[Peer], origin: int, limits: Limits, report: Report
    ) -> list[Running]:
        """Start all that can be started, and name those that cannot."""
        found = []
        for peer in peers:
            if self.only is not None and peer.name not in self.only:
                report.facts.append(f"{peer.name}: skipped, left out by --only")
            elif lacks := peer.lacks():
                report.facts.append(f"{peer.name}: SKIPPED, not installed: {lacks}")
            else:
                try:
                    found.append(await stack.enter_async_context(start(peer, origin, limits)))
                except StartError as error:
                    report.facts.append(f"{peer.name}: SKIPPED, it did not start: {error}")
                else:
                    report.facts.append(f"{peer.name}: version {peer.says_version()}")
        return found

    async def compare(
        self, peers: Sequence[Peer], limits: Limits, report: Report, *, users: int, status: HTTPStatus
    ) -> dict[str, list[Sample]]:
        """Put the same load on all, in turn; samples by name. All requests have to be answered with `status`."""
        async with AsyncExitStack() as stack:
            origin = await stack.enter_async_context(self.origin())
            running = await self.gather(stack, peers, origin, limits, report)
            runs = {peer.name: self.run(peer, users=users, status=status) for peer in running}
            return await self.turns(runs, report)

    def run(
        self, peer: Running, *, users: int = USERS, connections: int = CONNECTIONS, status: HTTPStatus = HTTPStatus.OK
    ) -> Callable[[], Awaitable[Sample]]:
        """One run against a peer, to be made later; a second's load to warm up comes first."""

        async def once() -> Sample:
            warm_up = min(1.0, self.seconds)
            await self.load(peer.port, connections=connections, seconds=warm_up, users=users)
            if (found := await ask(peer.port, "0")) != status:
                raise RuntimeError(f"it answers {found} instead of {status.value}")
            sample = await measure(peer, self.load, connections=connections, seconds=self.seconds, users=users)
            refused = 0.0 if status is HTTPStatus.OK else 1.0
            if abs(sample.refused - refused) > 0.001:
                raise RuntimeError(f"{sample.refused:.1%} of its answers were refusals or failures")
            return sample

        return once

    async def turns(self, runs: Mapping[str, Callable[[], Awaitable[T]]], report: Report) -> dict[str, list[T]]:
        """All runs in turn; who fails is named."""
        result = await in_turn(runs, self.times, self.neighbours, 0.05 if self.quick else 0.5)
        report.facts += [f"{name}: FAILED, {why}" for name, why in result.failed.items()]
        return result.found
