"""A model of a fleet: N workers' fallbacks on a virtual clock, beside a model of Redis."""

from dataclasses import dataclass, field

from gateway.limiter.fallback import Fallback
from gateway.limiter.last_known import LastKnown
from gateway.limits.bucket import State, take
from gateway.limits.charge import Charge, Demand, FailurePolicy
from gateway.limits.debt import reconcile
from gateway.limits.in_flight import InFlight
from gateway.limits.quota import Quota

KEY = b"k"


@dataclass
class FleetModel:
    """N workers, Redis, and what was admitted."""

    quota: Quota
    policy: FailurePolicy
    size: int
    now: int = 1_000_000_000_000
    shared: State | None = None
    is_available: bool = True
    admitted: list[tuple[int, int]] = field(default_factory=list)
    unavailable: int = 0
    losses: int = 0

    def __post_init__(self) -> None:
        self.known = [LastKnown(100, lambda: self.now) for _ in range(self.size)]
        self.fallbacks = [Fallback(known, 100) for known in self.known]
        for fallback in self.fallbacks:
            fallback.workers = self.size

    def wait(self, time: int) -> None:
        self.now += time
        self.unavailable += 0 if self.is_available else time

    def ask(self, worker: int, cost: int = 1) -> bool:
        demands = [Demand(KEY, Charge.of("limit", self.quota, cost, failure_policy=self.policy))]
        if self.is_available:
            decision, (state,) = take(demands, [self.shared], self.now)
            self.shared = state or self.shared
            self.known[worker].record(demands, decision, self.known[worker].epoch)
        else:
            decision = self.fallbacks[worker].take(demands, InFlight())
        if decision.allowed and cost:
            self.admitted.append((self.now, cost))
        return decision.allowed

    def fail(self) -> None:
        if self.is_available:
            self.is_available = False
            for fallback in self.fallbacks:
                fallback.begin()

    def recover(self, *, keeps_data: bool = True) -> None:
        if self.is_available:
            return
        if not keeps_data:
            self.shared = None
            self.losses += 1
        for fallback in self.fallbacks:
            fallback.freeze()
            self._reconcile(fallback, first=True)
        for fallback in self.fallbacks:
            self._reconcile(fallback)
        for fallback, known in zip(self.fallbacks, self.known, strict=True):
            known.forget()
            fallback.hand_back()
        self.is_available = True

    def beat(self) -> None:
        """The heartbeats of all workers while Redis is available."""
        if self.is_available:
            for fallback in self.fallbacks:
                self._reconcile(fallback)
                fallback.hand_back()

    def _reconcile(self, fallback: Fallback, *, first: bool = False) -> None:
        """As reconcile.lua does it."""
        for debts in fallback.debts(100, first=first):
            for debt in debts:
                owed, state = reconcile(self.shared, debt, self.now)
                self.shared = state or self.shared
                fallback.reconcile(debt, owed)

    def excess(self) -> float:
        """The most tokens admitted in any period, beyond what the rate refills in it."""
        worst = 0.0
        for number, (began, _) in enumerate(self.admitted):
            total = 0
            for at, cost in self.admitted[number:]:
                total += cost
                worst = max(worst, total - (at - began) / self.quota.interval)
        return worst
