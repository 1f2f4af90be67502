"""All faults that are played, by name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.fleet import peer_faults, process_faults, redis_faults
from benchmarks.fleet.episode import Episode


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        row: Of docs/faults.md.
        name: What happens.
        inject: Makes it happen, and ends it.
        short: Whether it is part of the short form.
    """

    row: str
    name: str
    inject: Callable[[Episode], Awaitable[None]]
    short: bool = False


FAULTS = (
    Fault("R1", "Redis killed, keeps its data", redis_faults.redis_killed),
    Fault("R1", "Redis killed, comes back empty", redis_faults.redis_killed_and_empty, short=True),
    Fault("R2", "Redis hangs", redis_faults.redis_hangs, short=True),
    Fault("R3", "Redis is slow", redis_faults.redis_is_slow, short=True),
    Fault("R3", "Redis stalls in a slow command", redis_faults.redis_stalls),
    Fault("R4", "connections to Redis are reset", redis_faults.redis_resets_connections, short=True),
    Fault("R7", "Redis out of memory", redis_faults.redis_out_of_memory, short=True),
    Fault("R8", "Redis read-only", redis_faults.redis_read_only, short=True),
    Fault("R9", "scripts and data flushed", redis_faults.redis_flushed),
    Fault("R10", "Redis' password changed", redis_faults.redis_password_changed),
    Fault("R16", "Redis' clock steps", redis_faults.redis_clock_steps),
    Fault("R18", "Redis flaps", redis_faults.redis_flaps),
    Fault("R22", "one gateway partitioned from Redis", redis_faults.one_gateway_partitioned, short=True),
    Fault("R22", "one gateway gets no replies", redis_faults.one_gateway_in_a_black_hole),
    Fault("P1", "reloads, valid and not", process_faults.reloads, short=True),
    Fault("P2", "SIGTERM", process_faults.gateway_drained, short=True),
    Fault("P2", "rolling restart", process_faults.rolling_restart),
    Fault("P3", "worker killed", process_faults.worker_killed, short=True),
    Fault("P3", "supervisor killed", process_faults.supervisor_killed, short=True),
    Fault("P3", "gateway killed", process_faults.gateway_killed),
    Fault("P4", "worker stopped for a second", process_faults.worker_stopped),
    Fault("P5", "disk full", process_faults.disk_full, short=True),
    Fault("P8", "no file descriptors", process_faults.descriptors_exhausted, short=True),
    Fault("P9", "little memory", process_faults.memory_limited),
    Fault("U1", "upstream killed", peer_faults.upstream_killed, short=True),
    Fault("U2", "upstream stopped", peer_faults.upstream_stopped),
    Fault("U3", "upstream trickles, hangs, resets", peer_faults.upstream_misbehaves, short=True),
    Fault("U4", "upstream reads slowly", peer_faults.upstream_reads_slowly, short=True),
    Fault("U5", "clients read slowly", peer_faults.slow_readers, short=True),
    Fault("C1", "slow heads", peer_faults.slow_heads),
    Fault("C2", "slow bodies", peer_faults.slow_uploads),
    Fault("C8", "clients abort", peer_faults.clients_abort, short=True),
    Fault("C10", "two hot users", peer_faults.hot_user),
)
