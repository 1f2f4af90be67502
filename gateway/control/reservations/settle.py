"""`Settle`: settles what check-limit has reserved, ``POST /api/v1/settle``."""

import json
from collections.abc import Callable, Sequence

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.control.asker import Asker
from gateway.control.errors import NoReservationError, ReservationsUnavailableError
from gateway.control.json_object import JsonObject
from gateway.control.reservations.store import ReservationStore
from gateway.limiter.limiter import Limiter
from gateway.limits.address import Network, Unix
from gateway.limits.measured_cost import Measurement
from gateway.redis.errors import StoreUnavailableError

MAX_COST = 1_000_000_000


class Settle:
    """Charges or refunds what reserved work has cost more or less than was charged for it.

    Args:
        guard: Admits callers with scope ``check``.
        open_to: Networks, and perhaps Unix sockets, whose callers need no token.
        store: Keeps the reservations.
        limiter: Keeps the buckets.
        report: Reports what work has cost, by endpoint.

    Attributes:
        path: Where it is asked.
    """

    path = "/api/v1/settle"

    def __init__(
        self,
        guard: Guard,
        open_to: Sequence[Network | Unix],
        store: ReservationStore,
        limiter: Limiter,
        report: Callable[[str, Measurement], None],
    ) -> None:
        self._guard = guard
        self._open_to = open_to
        self._store = store
        self._limiter = limiter
        self._report = report

    async def admit(self, asker: Asker) -> None:
        """See `Service`."""
        await asker.prove(self._guard, Scope.CHECK, self._open_to)

    async def answer(self, asker: Asker, body: bytes) -> bytes:  # noqa: ARG002 - whoever may ask may settle
        """See `Service`."""
        asked = JsonObject.parse(body)
        name, cost = asked.string("reservation", 64), asked.integer("cost", 0, MAX_COST)
        asked.close()
        try:
            claim = await self._store.claim(name, cost)
        except StoreUnavailableError as error:
            raise ReservationsUnavailableError(f"it may or may not be settled, so ask again: {error}") from error
        if claim is None:
            raise NoReservationError("there is no such reservation: its ttl is over, or it never was")
        if claim.is_first:
            charged = claim.reservation
            self._limiter.settle(*charged.demands(), claim.cost - charged.weight)
            self._report(charged.endpoint, Measurement(charged.weight, claim.cost))
        return json.dumps({"reservation": name, "cost": claim.cost}).encode()
