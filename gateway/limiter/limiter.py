"""`Limiter`: may this request pass? The whole failure policy is in `check`."""

from collections.abc import Sequence

from gateway.limiter.standby import Standby
from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.bucket import Decision, Demand
from gateway.redis.port import Store, StoreUnavailableError

_FREE = Verdict(Outcome.ALLOWED, False, Decision(True, 0, (), ()))


class Limiter:
    """Asks the store, and its standby when there is no answer.

    Args:
        store: Where buckets live.
        standby: What decides while the store is away.
    """

    __slots__ = ("_standby", "_store")

    def __init__(self, store: Store, standby: Standby) -> None:
        self._store = store
        self._standby = standby

    async def check(self, demands: Sequence[Demand]) -> Verdict:
        """Charge all buckets of a request or none. Always answers, and within the store's deadline.

        While the store is known to be away nobody asks it. A refusal that it is certain to give is given at once. A
        question it leaves unanswered is never put again, because it may have been heard: the standby decides.
        """
        if not demands:
            return _FREE
        standby = self._standby
        if standby.is_active:
            return standby.decide(demands)
        refusal = standby.refuse(demands)
        if refusal is not None:
            return Verdict(Outcome.REFUSED, False, refusal)
        epoch = standby.epoch
        try:
            decision = await self._store.take(demands)
        except StoreUnavailableError as why:
            standby.lose(why)
            return standby.decide(demands)
        standby.hear(demands, decision, epoch)
        return Verdict(Outcome.ALLOWED if decision.allowed else Outcome.REFUSED, False, decision)

    @property
    def is_degraded(self) -> bool:
        """Whether requests are decided without the shared store at present."""
        return self._standby.is_active

    @property
    def evicted(self) -> int:
        """Buckets this process has forgotten for want of room."""
        return self._store.evicted + self._standby.evicted

    @property
    def held(self) -> int:
        """Buckets in this process' memory."""
        return self._store.held + self._standby.held

    @property
    def workers(self) -> int:
        """Workers of all gateways that share the limits, as far as we know."""
        return self._standby.workers

    def forget(self, keys: Sequence[bytes] | None = None) -> None:
        """Ask the store afresh about these buckets, or all: after an override, a reset elsewhere, a reload."""
        self._standby.forget(keys)

    async def reset(self, keys: Sequence[bytes]) -> None:
        """Fill buckets, here and in the store.

        Raises:
            StoreUnavailableError: they are full for this worker; in the store they may or may not be.
        """
        try:
            await self._store.reset(keys)
        finally:
            self._standby.refill(keys)

    async def start(self) -> None:
        """Begin to watch the store. One that is away does not keep the gateway from starting."""
        await self._standby.start()

    async def close(self) -> None:
        """Stop watching the store and let go of it."""
        await self._standby.close()
        await self._store.close()
