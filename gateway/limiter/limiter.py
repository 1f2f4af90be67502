"""`Limiter`: may this request pass? `MemoryLimiter` and `FailoverLimiter` are the two that decide."""

from collections.abc import Sequence
from typing import Protocol

from gateway.limiter.verdict import Verdict
from gateway.limits.bucket import Demand


class Limiter(Protocol):
    """Decides on requests."""

    async def check(self, demands: Sequence[Demand]) -> Verdict:
        """Charge all buckets of a request, or none. Never fails."""

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets.

        Raises:
            StoreUnavailableError: they are full in this worker; in Redis they may or may not be.
        """

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Stop refusing from memory what another worker may have filled: these buckets, or all if None."""

    @property
    def is_degraded(self) -> bool:
        """Whether requests are decided without Redis although it is configured."""

    @property
    def workers(self) -> int:
        """Workers of all gateways that share the limits, as last seen."""

    @property
    def held(self) -> int:
        """Buckets in this worker's memory."""

    @property
    def evicted(self) -> int:
        """Buckets that this worker dropped for want of room, although they were not full."""

    async def start(self) -> None:
        """Connect. Redis may be unavailable: that keeps no gateway from starting."""

    async def close(self) -> None:
        """Stop what runs in the background, and disconnect."""
