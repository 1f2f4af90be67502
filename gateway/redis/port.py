"""The port: what the gateway asks of a place where buckets live."""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from gateway.limits.bucket import Decision, Demand


class StoreUnavailableError(Exception):
    """The store gave no answer that can be trusted: unreachable, too slow, read-only, out of memory, or broken.

    The one exception a store raises. What was asked may or may not have happened.
    """


def unavailable(error: BaseException) -> StoreUnavailableError:
    """What any failure on the way to the store means to whoever asked it."""
    failure = StoreUnavailableError(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


class Store(Protocol):
    """Keeps buckets and charges them."""

    @property
    def evicted(self) -> int:
        """Buckets this process has forgotten for want of room."""

    @property
    def held(self) -> int:
        """Buckets in this process' memory."""

    def take(self, demands: Sequence[Demand]) -> Awaitable[Decision]:
        """Charge all enforced demands or none, see `gateway.limits.bucket.take`.

        Raises:
            StoreUnavailableError: there is no decision.
        """

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets.

        Raises:
            StoreUnavailableError: they may or may not be full.
        """

    async def close(self) -> None:
        """Let go of connections."""
