"""`SettleApi`: settles what check-limit has reserved, ``POST /api/v1/settle``."""

from collections.abc import Callable, Sequence

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.control.errors import NoReservationError, ReservationsUnavailableError
from gateway.control.http.request import address_of, authorize, read_json_body
from gateway.control.reservations.store import ReservationStore
from gateway.limiter.limiter import Limiter
from gateway.limits.address import Network, Unix, belongs
from gateway.limits.measured_cost import Measurement
from gateway.redis.errors import StoreUnavailableError

MAX_COST = 1_000_000_000


class SettleApi:
    """Charges or refunds what reserved work has cost more or less than was charged for it.

    Args:
        guard: Admits callers with scope ``check``.
        open_to: Networks, and perhaps Unix sockets, whose callers need no token.
        store: Keeps the reservations.
        limiter: Keeps the buckets.
        report: Reports what work has cost, by endpoint.
    """

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

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/v1/settle", self._settle)]

    async def _settle(self, request: web.Request) -> web.Response:
        if not belongs(address_of(request), self._open_to):
            await authorize(request, self._guard, Scope.CHECK)
        body = await read_json_body(request)
        name, cost = body.string("reservation", 64), body.integer("cost", 0, MAX_COST)
        body.close()
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
        return web.json_response({"reservation": name, "cost": claim.cost})
