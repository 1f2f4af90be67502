"""`Sample`: the figures of one run against one peer, and statistics of several."""

from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.kit.load import Load, Responses
from benchmarks.kit.machine import usage
from benchmarks.kit.peer import Running
from benchmarks.kit.redis_count import redis_counts


class Sample(NamedTuple):
    """The figures of a run.

    Attributes:
        cpu: CPU time of the peer's processes per request, in microseconds.
        redis_cpu: CPU time of its Redis per request, in microseconds.
        commands: Commands sent to Redis per request.
        bucket_reads: How often buckets were read in Redis, in all.
        rate: Requests a second.
        p50: Median latency, in milliseconds.
        p99: 99th percentile of latency, in milliseconds.
        refused: Share of requests refused.
        memory: Resident memory of the peer's processes at the end, in MiB.
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


async def measure(
    peer: Running, generate: Callable[[Load], Awaitable[Responses]], *, connections: int, seconds: float, users: int
) -> Sample:
    """Put load on a peer."""
    redis = (peer.redis.pid,) if peer.redis else ()
    before, redis_before, counts_before = usage(*peer.leaders), usage(*redis), await redis_counts(peer.redis)
    done = await generate(Load(peer.port, connections, seconds, users, question=peer.question, grpc=peer.grpc))
    after, redis_after, counts = usage(*peer.leaders), usage(*redis), await redis_counts(peer.redis)
    if not done.requests:
        raise RuntimeError("there was no response")
    return Sample(
        cpu=(after.cpu - before.cpu) / done.requests * 1e6,
        redis_cpu=(redis_after.cpu - redis_before.cpu) / done.requests * 1e6,
        commands=(counts.calls - counts_before.calls) / done.requests,
        bucket_reads=counts.reads - counts_before.reads,
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
    """Median, with minimum and maximum."""
    low, mid, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{mid} ({low} to {high})"


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> float:
    """Our CPU divided by theirs: the median of the ratios of runs that were made one after the other."""
    return median(a.cpu / max(b.cpu, 0.1) for a, b in zip(ours, theirs, strict=True))
