"""`ReservationStore`: where reservations wait until they are settled; Redis keeps them for all gateways on it."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from gateway.control.reservations.reservation import Reservation
from gateway.redis.call_queue import CallQueue
from gateway.redis.client import RedisClient
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.scripts import Call, Script

_RESERVE, _CLAIM = (Script.of(f"{name}.lua", package=__package__) for name in ("reserve", "claim"))

_REPEATABLE = 60
"""Seconds, at least, for which a settled reservation is remembered, so that a repeated call gets the same answer."""

_MOST = 100_000
"""Reservations in this process' memory: about 50 MB."""


class Claim(NamedTuple):
    """What became of an attempt to settle a reservation.

    Attributes:
        reservation: What was charged.
        cost: What counts, in tokens.
        is_first: Whether that comes from this attempt; else it was settled before.
    """

    reservation: Reservation
    cost: int
    is_first: bool


class ReservationStore(Protocol):
    """Keeps reservations: `RedisReservations` or `MemoryReservations`."""

    async def add(self, reservation: Reservation, ttl: int) -> str:
        """Keep a reservation for so many seconds. Returns its id, which nobody can guess.

        Raises:
            StoreUnavailableError: it may not be kept.
        """

    async def claim(self, name: str, cost: int) -> Claim | None:
        """Settle a reservation, if nobody has done so before; None if there is none with this id.

        Raises:
            StoreUnavailableError: it may or may not be settled.
        """


class RedisReservations:
    """Reservations in Redis.

    Args:
        redis: Where.
        prefix: What our keys start with.
    """

    def __init__(self, redis: RedisClient, prefix: str) -> None:
        self._queue = CallQueue(redis)
        self._prefix = f"{prefix}:reservation:".encode()

    async def add(self, reservation: Reservation, ttl: int) -> str:
        """See `ReservationStore`."""
        name = _new_id()
        await self._run(Call(_RESERVE, [self._key(name)], [reservation.text(), ttl * 1000], None))
        return name

    async def claim(self, name: str, cost: int) -> Claim | None:
        """See `ReservationStore`."""
        reply = await self._run(Call(_CLAIM, [self._key(name)], [cost, _REPEATABLE * 1000], None))
        if not reply:
            return None
        charged, counted, is_first = reply
        return Claim(Reservation.read(charged), int(counted), bool(is_first))

    async def _run(self, call: Call) -> list[Any]:
        reply = await self._queue.run(call)
        if isinstance(reply, StoreUnavailableError):
            raise reply
        return reply

    def _key(self, name: str) -> bytes:
        return self._prefix + name.encode()


class _Kept(NamedTuple):
    reservation: Reservation
    expires_at: int
    cost: int | None = None


class MemoryReservations:
    """Reservations in this process, for a gateway of one worker without Redis.

    Args:
        clock: Microseconds since 1970.
        most: How many are kept; the oldest is dropped first, and what it was charged stays charged.
    """

    def __init__(self, clock: Callable[[], int], most: int = _MOST) -> None:
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def add(self, reservation: Reservation, ttl: int) -> str:
        """See `ReservationStore`."""
        name, now = _new_id(), self._clock()
        self._kept[name] = _Kept(reservation, now + ttl * 1_000_000)
        while len(self._kept) > self._most or next(iter(self._kept.values())).expires_at <= now:
            self._kept.popitem(last=False)
        return name

    async def claim(self, name: str, cost: int) -> Claim | None:
        """See `ReservationStore`."""
        kept, now = self._kept.get(name), self._clock()
        if kept is None or kept.expires_at <= now:
            self._kept.pop(name, None)
            return None
        if kept.cost is not None:
            return Claim(kept.reservation, kept.cost, is_first=False)
        expires_at = max(kept.expires_at, now + _REPEATABLE * 1_000_000)
        self._kept[name] = _Kept(kept.reservation, expires_at, cost)
        return Claim(kept.reservation, cost, is_first=True)


def _new_id() -> str:
    return secrets.token_urlsafe(16)
