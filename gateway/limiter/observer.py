"""`RedisObserver`: what a limiter reports about Redis."""

from typing import Protocol


class RedisObserver(Protocol):
    """Receives what an operator should know: one call for each change or round trip, none for each request."""

    def redis_misconfigured(self, warning: str) -> None:
        """Redis has a setting that may lose buckets or refuse writes."""

    def redis_answered(self, checks: int, seconds: float) -> None:
        """Redis decided on so many checks in one round trip."""

    def redis_unavailable(self, reason: str) -> None:
        """From now on this worker decides without Redis."""

    def redis_back(self, seconds: float) -> None:
        """This worker decides with Redis again, after so many seconds without."""
