"""`Slots`: what one worker has to tell Redis of its requests in flight, for limits of requests at once.

Redis has a number for each worker that counts requests in a bucket. A worker writes its true number each time, with the
checks or by itself, so whatever went wrong before is right again. Numbers of workers that are not in the fleet do not
count: the requests of one that died are forgotten with it. As the buckets of a Redis Cluster lie on other servers than
the fleet does, each worker says with its checks who was in the fleet at its last heartbeat.
"""

import json
import secrets
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from typing import Final

from gateway.limits.bucket import Decision
from gateway.limits.charge import Demand
from gateway.limits.in_flight import InFlight, slots
from gateway.redis.clock import StoreClock

STALE: Final = 1_000_000
"""Microseconds after which a call that was sent changes no number any more: nobody waits for its reply by then."""

_REWRITE: Final = 600_000_000
"""Microseconds after which all numbers are written again, in case that Redis has evicted some."""

_MOST: Final = 128
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
        self._untrue: dict[bytes, None] = {}
        self._doubtful: dict[bytes, int] = {}  # from when on no call may change the number; the first is the earliest
        self._told: dict[bytes, object] = {}  # where Redis may have a number, with what the last call about it said
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
        self._untrue.update(dict.fromkeys([*self.in_flight, *self._told]))

    @property
    def is_due(self) -> bool:
        """Whether there is a number to write now."""
        return bool(self._untrue) or (bool(self._doubtful) and next(iter(self._doubtful.values())) <= self._clock())

    def take_due(self) -> list[bytes]:
        """The buckets whose numbers are to be written now; they count as true from here on."""
        if self._doubtful:
            now = self._clock()
            over = list(takewhile(lambda key: self._doubtful[key] <= now, self._doubtful))
            for key in over:
                del self._doubtful[key]
            self._untrue.update(dict.fromkeys(over))
        due = list(islice(self._untrue, _MOST))
        for key in due:
            del self._untrue[key]
        return due

    def hold(self, demands: Sequence[Demand], decision: Decision) -> None:
        """Redis has allowed a request, and counts it."""
        if decision.allowed:
            self.in_flight.hold(demands, decision)

    def hold_untold(self, demands: Sequence[Demand], decision: Decision) -> None:
        """A request was allowed without Redis, which has yet to count it."""
        if decision.allowed:
            self.in_flight.hold(demands, decision)
            self._untrue.update((demand.key, None) for demand in slots(demands, decision))

    def release(self, demands: Sequence[Demand], decision: Decision) -> None:
        """A request has ended, or was allowed in vain."""
        for key in self.in_flight.release(demands, decision):
            if key in self._told or self.in_flight.count(key):
                self._untrue[key] = None
            else:
                self._untrue.pop(key, None)  # it began and ended without Redis

    def heard(self, keys: Iterable[bytes], said: object, *, is_written: bool) -> None:
        """Redis has replied to a call about these buckets.

        Args:
            keys: The buckets.
            said: The `argument` of the call. If a later call has said something of a bucket, Redis may have carried out
                that one first, on another connection, so the number is written once more.
            is_written: Whether it wrote the numbers; it does not if the call was late by its clock.
        """
        for key in dict.fromkeys(keys):
            if not is_written or self._told.get(key) is not said:
                self._told.setdefault(key, None)
                self._untrue[key] = None
            elif not (self.in_flight.count(key) or key in self._untrue or key in self._doubtful):
                del self._told[key]

    def doubt(self, keys: Iterable[bytes]) -> None:
        """A call about these buckets has failed, and may have been executed, or may yet be."""
        since = self._clock() + STALE + STALE // 10
        for key in keys:
            self._doubtful.pop(key, None)
            self._doubtful[key] = since

    def argument(self, positions: dict[bytes, int]) -> str:
        """What take.lua has to know, for buckets at these positions among its keys."""
        own = [number for key, place in positions.items() for number in (place, self.in_flight.count(key))]
        me = f"{self._joined_at} {self.name}"
        said = json.dumps([me, self._clock() + STALE, self._seen_at, self._names, own], separators=(",", ":"))
        self._told.update(dict.fromkeys(positions, said))
        return said


def keys_at_once(checks: Iterable[Sequence[Demand]]) -> list[bytes]:
    """The buckets of limits of requests at once that checks are about."""
    return [each.key for demands in checks for each in demands if each.charge.quota.at_once]
