"""`Standby`: what takes over when the store is away, and hands back when it returns."""

from collections.abc import Sequence
from typing import Protocol

from gateway.limiter.verdict import Verdict
from gateway.limits.bucket import Decision, Demand
from gateway.redis.port import StoreUnavailableError


class Observer(Protocol):
    """Is told what an operator should know: once for each event or call, never per request."""

    def store_warns(self, what: str) -> None:
        """The store is set up in a way that may surprise."""

    def store_answered(self, checks: int, seconds: float) -> None:
        """A call to the store has come back, after so long; it was about so many checks."""

    def store_lost(self, why: str) -> None:
        """Requests are decided without the store from now on."""

    def store_back(self, seconds: float) -> None:
        """The store decides again, after so long."""


class Standby(Protocol):
    """What the limiter falls back on."""

    @property
    def epoch(self) -> int:
        """Changes whenever something is forgotten."""

    @property
    def evicted(self) -> int:
        """Buckets forgotten for want of room."""

    @property
    def held(self) -> int:
        """Buckets in memory."""

    @property
    def workers(self) -> int:
        """Workers that share the limits, as far as we know."""

    @property
    def is_active(self) -> bool:
        """Whether the store is not to be asked."""

    def refuse(self, demands: Sequence[Demand]) -> Decision | None:
        """A refusal that the store is certain to give; None if it has to be asked."""

    def hear(self, demands: Sequence[Demand], decision: Decision, epoch: int) -> None:
        """Remember what the store said to a question asked in `epoch`."""

    def lose(self, why: StoreUnavailableError) -> None:
        """Note that the store gave no answer."""

    def decide(self, demands: Sequence[Demand]) -> Verdict:
        """Decide without the store."""

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Do not refuse by memory what was filled or given a new size: these buckets, or all."""

    def refill(self, keys: Sequence[bytes]) -> None:
        """Take buckets for full."""

    async def start(self) -> None:
        """Begin to watch the store."""

    async def close(self) -> None:
        """Stop watching."""


class NoStandby:
    """Behind a store that never goes away, because it is in this process."""

    epoch = 0
    evicted = 0
    held = 0
    workers = 1
    is_active = False

    def refuse(self, demands: Sequence[Demand]) -> Decision | None:  # noqa: ARG002
        """Nothing is certain but what the store says."""
        return None

    def hear(self, demands: Sequence[Demand], decision: Decision, epoch: int) -> None:
        """Nothing to remember."""

    def lose(self, why: StoreUnavailableError) -> None:
        """Cannot happen."""
        raise why

    def decide(self, demands: Sequence[Demand]) -> Verdict:
        """Cannot happen."""
        raise NotImplementedError(demands)

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Nothing to forget."""

    def refill(self, keys: Sequence[bytes]) -> None:
        """Nothing to refill."""

    async def start(self) -> None:
        """Nothing to watch."""

    async def close(self) -> None:
        """Nothing to stop."""
