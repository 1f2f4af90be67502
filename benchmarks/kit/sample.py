"""`Sample`: one run against one peer, and what many of them come to."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.kit.load import Generator
from benchmarks.kit.machine import usage
from benchmarks.kit.peer import Running
from benchmarks.kit.redis_count import commands


class Sample(NamedTuple):
    """What a run cost.

    Attributes:
        cpu: Microseconds of the peer's processes, for each request.
        redis_cpu: Microseconds of its Redis, for each request.
        commands: Sent to Redis by the peer, for each request.
        bucket_reads: Times that a script looked into buckets, in all.
        rate: Requests a second.
        p50: Milliseconds.
        p99: Milliseconds.
        refused: Share of the requests.
        memory: MiB that the peer's processes hold at the end.
    """

    cpu: float
    redis_cpu: float
    commands: float
    bucket_reads: float
    rate: float
    p50: float
    p99: float
    refused: float
    memory: float


async def measure(peer: Running, load: Generator, *, connections: int, seconds: float, users: int) -> Sample:
    """Put load on a peer."""
    redis = (peer.redis.pid,) if peer.redis else ()
    before, redis_before, asked_before = usage(*peer.leaders), usage(*redis), await commands(peer.redis)
    done = await load(peer.port, connections=connections, seconds=seconds, users=users)
    after, redis_after, asked = usage(*peer.leaders), usage(*redis), await commands(peer.redis)
    if not done.requests:
        raise RuntimeError("nothing was answered")
    return Sample(
        cpu=(after.cpu - before.cpu) / done.requests * 1e6,
        redis_cpu=(redis_after.cpu - redis_before.cpu) / done.requests * 1e6,
        commands=(asked.calls - asked_before.calls) / done.requests,
        bucket_reads=asked.reads - asked_before.reads,
        rate=done.requests / done.seconds,
        p50=done.p50,
        p99=done.p99,
        refused=done.refused / done.requests,
        memory=after.memory / 2**20,
    )


def middle(samples: Sequence[Sample]) -> Sample:
    """The median of each figure."""
    return Sample(*map(median, zip(*samples, strict=True)))


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, and from the least to the most."""
    low, mid, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{mid} ({low} to {high})"


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> float:
    """Our CPU for one of theirs: the median of the ratios of runs that came one after the other."""
    return median(a.cpu / max(b.cpu, 0.1) for a, b in zip(ours, theirs, strict=True))
