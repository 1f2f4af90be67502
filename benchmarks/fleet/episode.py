"""`Episode`: one fault, what it may do to requests, and what it did."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.fleet.clients import Clients
from benchmarks.fleet.fleet import BURST, RATE, WORKERS, Fleet, Gateway

ALL_WORKERS = 2 * WORKERS


@dataclass
class Episode:
    """A fault while it is injected. The fault states here what it may do; anything else is a violation.

    Attributes:
        fleet: Where.
        clients: Who send requests meanwhile.
        random: All random choices of the fault.
        seconds: How long it lasts, more or less.
        log: Prints what is done.
        began: When, on the monotonic clock.
        broken: Gateways whose connections may break: one of their processes was killed.
        refusing: Gateways that may refuse connections: they were down.
        statuses: Besides 200, which statuses each kind of request that is sent during the fault may get.
        unanswered: Kinds of requests that may stay without a complete response.
        repeated: Kinds whose GET requests may be carried out twice (RFC 9110 section 9.2.2).
        lines_lost: Gateways whose log may lack lines.
        uncounted: Gateways whose log may lack lines of requests that were in flight when a process was killed.
        renamed: Whether a request may be known by an id of the gateway's own: its client reset the connection before
            it was accepted, so it has no address any more that could be trusted to give one.
        refills: How often a bucket in Redis may become full at once: its data is lost, or its clock steps.
        cut_off: Workers that were cut off from a Redis that was available to the others.
        failed: What else went wrong.
        notes: What is worth a word in the table.
    """

    fleet: Fleet
    clients: Clients
    random: random.Random
    seconds: float
    log: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    broken: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    statuses: dict[str, set[int]] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    lines_lost: set[str] = field(default_factory=set)
    uncounted: set[str] = field(default_factory=set)
    renamed: bool = False
    refills: int = 0
    cut_off: int = 0
    failed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def one_gateway(self) -> Gateway:
        """The gateway that the fault hits."""
        gateway = self.random.choice(self.fleet.gateways)
        self.log(f"  gateway {gateway.name}")
        return gateway

    def kills_a_process_of(self, gateway: Gateway) -> None:
        """Its connections break, and what it has not written to the log yet is lost."""
        self.broken.add(gateway.name)
        self.uncounted.add(gateway.name)

    def bound(self, seconds: float, degraded: float) -> float:
        """How many tokens may be spent in any window beyond the rate, by docs/bound.md for limits that stay `whole`.

        Args:
            seconds: The episode's length.
            degraded: Decisions made without Redis. Without any the bucket is exact; a worker that had to wait for a
                processor for longer than the deadline counts as one that was cut off.
        """
        full_buckets = (1 + self.refills) * BURST
        if not degraded:
            return full_buckets
        return full_buckets + (self.cut_off or ALL_WORKERS) * (BURST + RATE * seconds)

    def expect(self, holds: bool, failure: str) -> None:
        if not holds:
            self.failed.append(failure)
