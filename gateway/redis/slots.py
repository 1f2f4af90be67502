"""`Slots`: what one worker has to tell Redis of its requests in flight, for limits of requests at once.

Redis has a number for each worker that counts requests in a bucket. A worker writes its true number each time, with the
checks or by itself, so whatever went wrong before is right again. Numbers of workers that are not in the fleet do not
count: the requests of one that died are forgotten with it. As the buckets of a Redis Cluster lie on other servers than
the fleet does, each worker says with its checks who was in the fleet at its last heartbeat.
"""

import json
import secrets
from collections.abc import Iterable, Sequence
from itertools import islice

from gateway.limits.bucket import Decision, Demand
from gateway.limits.in_flight import InFlight
from gateway.redis.clock import StoreClock

STALE = 1_000_000
"""Microseconds after which a call that was sent changes no number any more: nobody waits for its reply by then."""

_REWRITE = 600_000_000
"""Microseconds after which all numbers are written again, in case that Redis has evicted some."""

_MOST = 128
"""Numbers written in one round trip beside those that its checks are about."""


class Slots:
    """The numbers of one worker.

    Args:
        clock: Redis' time.

    Attributes:
        in_flight: The true numbers.
        name: The worker's name in the fleet.
    """

    def __init__(self, clock: StoreClock) -> None:
        self.in_flight = InFlight()
        self._clock = clock
        self.name = secrets.token_hex(6)
        self._joined_at = 0
        self._seen_at = 0
        self._names: tuple[str, ...] = ()
        self._untrue: dict[bytes, int] = {}  # from when on the number may be written
        self._rewritten_at = 0

    def hear(self, now: int, names: Sequence[str], *, was_known: bool) -> None:
        """A heartbeat has said who is in the fleet.

        Args:
            now: When, by Redis' clock.
            names: The workers in the fleet.
            was_known: Whether this worker was among them before.
        """
        self._seen_at, self._names = now, tuple(names)
        if not was_known or not self._joined_at:
            # What others counted for this worker is gone; from now on it has another name for them.
            self._joined_at = now
            self.rewrite()
        elif now - self._rewritten_at > _REWRITE:
            self.rewrite()

    def rewrite(self) -> None:
        """Have all numbers written again."""
        self._rewritten_at = self._clock()
        self.mark(self.in_flight)

    def mark(self, keys: Iterable[bytes], *, later: bool = False) -> None:
        """Note that the numbers in Redis are not the true ones.

        Args:
            keys: Of which buckets.
            later: Whether a call that was sent may still change them.
        """
        since = self._clock() + STALE + STALE // 10 if later else 0
        for key in keys:
            self._untrue[key] = max(since, self._untrue.get(key, 0))

    @property
    def is_due(self) -> bool:
        """Whether there is a number to write now."""
        return bool(self._untrue) and min(self._untrue.values()) <= self._clock()

    def take_due(self) -> list[bytes]:
        """The buckets whose numbers are to be written now; they count as true from here on."""
        if not self._untrue:
            return []
        now = self._clock()
        due = list(islice((key for key, since in self._untrue.items() if since <= now), _MOST))
        for key in due:
            del self._untrue[key]
        return due

    def hold(self, demands: Sequence[Demand], decision: Decision) -> None:
        """Redis has allowed a request, and counts it."""
        if decision.allowed:
            self.in_flight.hold(demands, decision)

    def release(self, demands: Sequence[Demand], decision: Decision) -> None:
        """A request has ended, or was allowed in vain."""
        self.mark(self.in_flight.release(demands, decision))

    def doubt(self, keys: Iterable[bytes]) -> None:
        """A call about these buckets has failed, and may have been executed, or may yet be."""
        self.mark(keys, later=True)

    def argument(self, positions: dict[bytes, int]) -> str:
        """What take.lua has to know, for buckets at these positions among its keys."""
        own = [number for key, place in positions.items() for number in (place, self.in_flight.count(key))]
        me = f"{self._joined_at} {self.name}"
        return json.dumps([me, self._clock() + STALE, self._seen_at, self._names, own], separators=(",", ":"))


def keys_at_once(checks: Iterable[Sequence[Demand]]) -> list[bytes]:
    """The buckets of limits of requests at once that checks are about."""
    return [key for demands in checks for key, charge in demands if charge.quota.at_once]
