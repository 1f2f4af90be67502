"""`CheckLimit`: the proxy's own decision for services that ask for it, ``POST /api/v1/check-limit``."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.auth.timestamps import format_timestamp, now
from gateway.control.asker import Asker
from gateway.control.json_object import JsonObject
from gateway.control.reservations.reservation import MAX_TTL, TTL, Reservation
from gateway.control.reservations.store import ReservationStore
from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.address import Network, Unix, is_one_client, parse_address, parse_clients
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.condition import GivenFields
from gateway.limits.endpoint import Endpoint
from gateway.limits.identity import Identity
from gateway.limits.in_flight import without_slots
from gateway.limits.joint import join
from gateway.limits.remaining import Remaining, remaining_in, tightest, with_weight
from gateway.limits.rules import RuleBook, Rules
from gateway.limits.unmatched import Unmatched
from gateway.redis.errors import StoreUnavailableError
from gateway.telemetry.events import Events

MAX_WEIGHT: Final = 1_000_000_000
"""The largest weight; also what remains for a user whom nothing limits."""

MAX_ITEMS: Final = 50

_TEXT: Final = {True: "true", False: "false"}
"""In JSON, which is written member by member: of `json.dumps`, an answer would take four times as long."""

_VOUCHED: Final = ("tier", "attributes", "address")
"""Members that say of a caller what only an identity source knows otherwise."""

_REQUEST: Final = re.compile(r"([A-Z]{1,32}) (/[^?\x00-\x20\x7f]*)(?:\?([^\x00-\x20\x7f]*))?", re.ASCII)


@dataclass(init=False, slots=True)
class _Item:
    """What is asked about."""

    endpoint: Final[Endpoint]
    caller: Final[Caller]
    demands: Final[list[Demand]]
    weight: Final[int]

    def __init__(self, endpoint: Endpoint, caller: Caller, demands: list[Demand], weight: int) -> None:
        self.endpoint = endpoint
        self.caller = caller
        self.demands = demands
        self.weight = weight


class CheckLimit:
    """Decides by the same rules, on the same buckets and through the same limiter as the proxy.

    Args:
        guard: Admits callers with scope ``check``, and with ``check:caller`` if they vouch for more than a user id.
        open_to: Networks, and perhaps Unix sockets, whose callers need no token to ask about a user id.
        book: The rules in force.
        identity: Makes callers.
        limiter: Decides.
        reservations: Keeps what is to be settled.
        events: Reports each decision.

    Attributes:
        path: Where it is asked.
    """

    path = "/api/v1/check-limit"

    def __init__(
        self,
        guard: Guard,
        open_to: Sequence[Network | Unix],
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        reservations: ReservationStore,
        events: Events,
    ) -> None:
        self._guard = guard
        self._open_to = open_to
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._reservations = reservations
        self._events = events

    async def admit(self, asker: Asker) -> None:
        """See `Service`."""
        await asker.prove(self._guard, Scope.CHECK, self._open_to)

    async def answer(self, asker: Asker, body: bytes) -> bytes:
        """See `Service`."""
        asked = JsonObject.parse(body)
        parts = asked.objects("items", MAX_ITEMS) if "items" in asked else [asked]
        if any(each.has_any(_VOUCHED) for each in parts):
            await asker.prove(self._guard, Scope.CHECK_CALLER)
        ttl = _ttl(asked)
        rules = self._book.current
        items = [item for each in parts if (item := self._read(rules, each)) is not None]
        asked.close()
        answer = self._decide_jointly(rules, items) if "items" in asked else self._decide(rules, items[0], ttl)
        return (await answer).encode()

    async def _decide(self, rules: Rules, item: _Item, ttl: int | None) -> str:
        verdict = await self._limiter.check(item.demands)
        self._report(rules, item, verdict)
        members = _members(verdict.allowed, _left(item.demands, verdict), verdict)
        if ttl is None:
            return f"{{{members}}}"
        return f'{{{members}, "reservation": {json.dumps(await self._reserve(item, verdict, ttl))}}}'

    async def _decide_jointly(self, rules: Rules, items: Sequence[_Item]) -> str:
        joint = join([item.demands for item in items])
        verdict = await self._limiter.check(joint.demands)
        left = _left(joint.demands, verdict)
        listed = []
        for number, item in enumerate(items):
            part = replace(verdict, decision=joint.part(number, verdict.decision))
            self._report(rules, item, part)
            own = [left[place] for place in joint.positions[number]] if left else left
            listed.append(f"{{{_members(_could_pay(item.demands, part), own, verdict)}}}")
        return f'{{"allowed": {_TEXT[verdict.allowed]}, "items": [{", ".join(listed)}]}}'

    def _report(self, rules: Rules, item: _Item, verdict: Verdict) -> None:
        if not (item.demands and item.weight):
            return
        self._events.decided(item.endpoint.name, item.caller, item.demands, verdict)
        if verdict.allowed and rules.is_measured(item.endpoint.name):
            # What a service asks for is what it costs: no response of ours says otherwise.
            self._events.spent(item.endpoint.name, item.caller, item.demands, verdict, item.weight)

    async def _reserve(self, item: _Item, verdict: Verdict, ttl: int) -> str | None:
        """The id of a reservation. None if nothing was charged, or nothing that can be settled later."""
        if not verdict.allowed or verdict.degraded:
            return None
        reservation = Reservation.of(item.endpoint.name, item.weight, item.demands, verdict.decision)
        try:
            return await self._reservations.add(reservation, ttl)
        except StoreUnavailableError:
            return None

    def _read(self, rules: Rules, body: JsonObject) -> _Item | None:
        """What a question or one of its items asks about. None is noted as an error."""
        caller = self._described(rules, body) if body.has_any(_VOUCHED) else self._named(rules, body)
        weight = body.integer("weight", 0, MAX_WEIGHT)
        endpoint = _endpoint(rules, body)
        body.note_unknown()
        if endpoint is None or body.has_errors:
            return None
        return _Item(endpoint, caller, with_weight(without_slots(rules.demands(endpoint, caller)), weight), weight)

    def _named(self, rules: Rules, body: JsonObject) -> Caller:
        """The caller of whom nothing is known but a user id; ``address/198.51.100.7`` is a client without one."""
        user = body.string("user_id")
        if user.startswith("address/"):
            with suppress(ValueError):
                clients = parse_clients(user.removeprefix("address/"))
                if not is_one_client(clients):
                    body.refuse("user_id", "must be one address, as in address/198.51.100.7")
                return self._identity.client(clients.network_address, rules.holders)
        return self._identity.user(user, holders=rules.holders)

    def _described(self, rules: Rules, body: JsonObject) -> Caller:
        """The caller of whom a service says this. A client without a user id is known by ``address``."""
        address = parse_address(body.string("address", 45)) if "address" in body else None
        if "address" in body and address is None:
            body.refuse("address", "must be an IP address")
        tier = body.string("tier", 64) if "tier" in body else None
        attributes = body.texts("attributes") if "attributes" in body else None
        for name in sorted((attributes or {}).keys() - self._identity.attributes):
            body.refuse("attributes", f"no identity source names {name[:64]}")
        if "address" in body and "user_id" not in body:
            for name in ("tier", "attributes"):
                if name in body:
                    body.refuse(name, "needs user_id: a client without one has none")
            return self._identity.client(address, rules.holders)
        user = body.string("user_id")
        return self._identity.user(user, tier, address=address, attributes=attributes, holders=rules.holders)


def _ttl(body: JsonObject) -> int | None:
    """Seconds for which a question is to be reserved; None if it is not."""
    if not body.flag("reserve"):
        if "ttl" in body and body.integer("ttl", 1, MAX_TTL):
            body.refuse("ttl", "needs reserve: true")
        return None
    if "items" in body:
        body.refuse("reserve", "is for a single question, not for items")
    elif body.integer("weight", 0, MAX_WEIGHT) == 0:
        body.refuse("weight", "must be at least 1 with reserve")
    return body.integer("ttl", 1, MAX_TTL) if "ttl" in body else TTL


def _endpoint(rules: Rules, body: JsonObject) -> Endpoint | None:
    """The endpoint of a body: its name, or a request such as ``GET /v1/orders/7``. None is noted as an error."""
    name = body.string("endpoint", 8192)
    if " " not in name:
        endpoint = rules.endpoints.get(name)
        if name and endpoint is None:
            body.refuse(
                "endpoint",
                f'no endpoint in the rules has the name "{name[:64]}"; write the name of one, or a method and a path, '
                "as in GET /v1/orders/7",
            )
        return endpoint
    form = _REQUEST.fullmatch(name)
    found = rules.match(form[1], "", form[2], GivenFields(query=form[3] or "")) if form else Unmatched.PATH
    if isinstance(found, Unmatched):
        body.refuse("endpoint", "must be a method and a path that the proxy would accept")
        return None
    return found


def _left(demands: Sequence[Demand], verdict: Verdict) -> list[Remaining]:
    """What is left in each bucket; nothing is known if the decision is unavailable."""
    return [] if verdict.outcome is Outcome.UNAVAILABLE else remaining_in(demands, verdict.decision)


def _members(allowed: bool, buckets: Sequence[Remaining], verdict: Verdict) -> str:
    """Members of an answer, in JSON: what is left in the tightest bucket, and when it is full again."""
    remaining, reset_at = MAX_WEIGHT, verdict.decision.now or now()
    if verdict.outcome is Outcome.UNAVAILABLE:
        remaining = 0
    elif (bucket := tightest(buckets)) is not None:
        remaining, reset_at = bucket.remaining, bucket.full_at
    reset = format_timestamp(reset_at)
    return f'"allowed": {_TEXT[allowed]}, "remaining": {remaining}, "reset_at": "{reset}"'


def _could_pay(demands: Sequence[Demand], verdict: Verdict) -> bool:
    """Whether all buckets of an item that refuse could pay, for it and the others that are charged to them."""
    if verdict.allowed or verdict.outcome is Outcome.UNAVAILABLE:
        return verdict.allowed
    return not any(demands[position].charge.enforced for position in verdict.decision.refused)
