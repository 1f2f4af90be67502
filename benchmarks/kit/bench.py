"""`Bench`: what all comparisons with peers share: their options, an origin, and peers that run side by side."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

from benchmarks.kit import machine
from benchmarks.kit.grpc_load import generate_grpc
from benchmarks.kit.load import Generator, Load
from benchmarks.kit.peer import GENEROUS, Limits, Peer, Running, StartError, ask, start
from benchmarks.kit.peers import compiled
from benchmarks.kit.programs import PYTHON
from benchmarks.kit.report import Report
from benchmarks.kit.rounds import in_turn
from benchmarks.kit.sample import Sample, measure

T = TypeVar("T")

BUILDS = ("pure", "compiled", "both")
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
PYTHON_ORIGIN = Peer(
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
        seconds: Length of a run.
        times: Runs of each peer.
        only: Names of the peers to compare; None for all.
        load: Generates load.
        quick: Whether it only matters that everything works, not the figures.
        build: Which builds of the gateway are measured, one of `BUILDS`.
        other_load: What else keeps the machine busy.
    """

    seconds: float
    times: int
    only: frozenset[str] | None
    load: Generator
    quick: bool = False
    build: str = "both"
    other_load: machine.OtherLoad = field(default_factory=machine.OtherLoad)

    @asynccontextmanager
    async def origin(self, peer: Peer = _ORIGIN) -> AsyncIterator[int]:
        """Run the upstream of all peers; yields its port."""
        chosen = PYTHON_ORIGIN if peer.missing() or self.load.name != "wrk" else peer
        async with start(chosen, 0, GENEROUS, cores=machine.CORES.rest) as running:
            yield running.port

    def builds(self, *gateways: Peer) -> tuple[Peer, ...]:
        """The builds of each of these to measure."""
        which = {"pure": (False,), "compiled": (True,), "both": (False, True)}[self.build]
        return tuple(compiled(peer) if is_compiled else peer for peer in gateways for is_compiled in which)

    def one_build(self, gateway: Peer) -> Peer:
        """The build to measure where one is enough: of two the compiled one, if it is there."""
        *others, last = self.builds(gateway)
        return others[0] if others and last.missing() else last

    def installed(self, peers: Sequence[Peer], report: Report) -> list[Peer]:
        """The peers that can be started; the others are listed."""
        found = []
        for peer in peers:
            if self.only is not None and peer.name not in self.only:
                report.skipped.append(f"{peer.name}: skipped, left out by --only")
            elif missing := peer.missing():
                report.skipped.append(f"{peer.name}: SKIPPED, not installed: {missing}")
            else:
                report.facts.append(f"{peer.name}: version {peer.installed_version()}")
                found.append(peer)
        return found

    async def gather(
        self, stack: AsyncExitStack, peers: Sequence[Peer], origin: int, limits: Limits, report: Report
    ) -> list[Running]:
        """Start all peers that can be started, and list those that cannot."""
        found = []
        for peer in self.installed(peers, report):
            try:
                found.append(await stack.enter_async_context(start(peer, origin, limits)))
            except StartError as error:
                report.failed.append(f"{peer.name}: DID NOT START, {error}")
        return found

    async def compare(
        self, peers: Sequence[Peer], limits: Limits, report: Report, *, users: int, status: HTTPStatus
    ) -> dict[str, list[Sample]]:
        """Put the same load on all peers in turn; returns samples by name. All responses must have this `status`."""
        return await self.each(peers, limits, report, lambda peer: self.run(peer, users=users, status=status)())

    async def each(
        self,
        peers: Sequence[Peer],
        limits: Limits,
        report: Report,
        run: Callable[[Running], Awaitable[T]],
    ) -> dict[str, list[T]]:
        """Start all peers that can be started, and make a run with each in turn; returns the results by name."""
        async with AsyncExitStack() as stack:
            origin = await stack.enter_async_context(self.origin())
            running = await self.gather(stack, peers, origin, limits, report)
            return await self.turns({peer.name: functools.partial(run, peer) for peer in running}, report)

    def run(
        self, peer: Running, *, users: int = USERS, connections: int = CONNECTIONS, status: HTTPStatus = HTTPStatus.OK
    ) -> Callable[[], Awaitable[Sample]]:
        """Returns a function that makes one run against a peer, after a second of load to warm up."""

        async def once() -> Sample:
            warm_up = min(1.0, self.seconds)
            generate = generate_grpc if peer.grpc else self.load
            await generate(Load(peer.port, connections, warm_up, users, question=peer.question, grpc=peer.grpc))
            if (found := await ask(peer.port, "0", peer.question, peer.grpc)) != status:
                raise RuntimeError(f"the status is {found} instead of {status.value}")
            sample = await measure(peer, generate, connections=connections, seconds=self.seconds, users=users)
            refused = 0.0 if status is HTTPStatus.OK else 1.0
            if abs(sample.refused - refused) > 0.001:
                raise RuntimeError(f"{sample.refused:.1%} of the responses were refusals or failures")
            return sample

        return once

    async def turns(self, runs: Mapping[str, Callable[[], Awaitable[T]]], report: Report) -> dict[str, list[T]]:
        """Make all runs in turn; failures are listed in the report."""
        result = await in_turn(runs, self.times, self.other_load, 0.05 if self.quick else 0.5)
        report.failed += [f"{name}: FAILED, {why}" for name, why in result.failed.items()]
        return result.found
