"""`CheckLimitApi`: the proxy's own decision for services that ask for it, ``POST /api/v1/check-limit``."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.auth.timestamps import format_timestamp, now
from gateway.control.http.request import address_of, authorize, read_json_body
from gateway.control.json_object import JsonObject
from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.address import Network, Unix, belongs, is_one_client, parse_clients
from gateway.limits.bucket import Demand
from gateway.limits.caller import Caller
from gateway.limits.condition import GivenFields
from gateway.limits.endpoint import Endpoint
from gateway.limits.identity import Identity
from gateway.limits.remaining import remaining_in, tightest, with_weight
from gateway.limits.rules import RuleBook, Rules
from gateway.limits.unmatched import Unmatched

MAX_WEIGHT = 1_000_000_000
"""The largest weight; also what remains for a user whom nothing limits."""

_REQUEST = re.compile(r"([A-Z]{1,32}) (/[^?\x00-\x20\x7f]*)(?:\?([^\x00-\x20\x7f]*))?", re.ASCII)


class CheckLimitApi:
    """Decides by the same rules, on the same buckets and through the same limiter as the proxy.

    Args:
        guard: Admits callers with scope ``check``.
        open_to: Networks, and perhaps Unix sockets, whose callers need no token.
        book: The rules in force.
        identity: Makes a caller of a user id.
        limiter: Decides.
        report: Reports each decision.
    """

    def __init__(
        self,
        guard: Guard,
        open_to: Sequence[Network | Unix],
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        report: Callable[[str, Caller, Sequence[Demand], Verdict], None],
    ) -> None:
        self._guard = guard
        self._open_to = open_to
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._report = report

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/v1/check-limit", self._check)]

    async def _check(self, request: web.Request) -> web.Response:
        if not belongs(address_of(request), self._open_to):
            await authorize(request, self._guard, Scope.CHECK)
        body = await read_json_body(request)
        caller = self._caller(body)
        weight = body.integer("weight", 0, MAX_WEIGHT)
        rules = self._book.current
        endpoint = _endpoint(rules, body)
        body.close()
        assert endpoint is not None  # noqa: S101 - else `close` has raised
        demands = with_weight(rules.demands(endpoint, caller), weight)
        verdict = await self._limiter.check(demands)
        if demands and weight:
            self._report(endpoint.name, caller, demands, verdict)
        return _response(demands, verdict)

    def _caller(self, body: JsonObject) -> Caller:
        """The user of a body, or the client without a user id who is known by an address: ``address/198.51.100.7``."""
        user = body.string("user_id")
        kind, _, name = user.partition("/")
        if kind == "address":
            with suppress(ValueError):
                clients = parse_clients(name)
                if not is_one_client(clients):
                    body.refuse("user_id", "must be one address, as in address/198.51.100.7")
                return self._identity.client(clients.network_address)
        return self._identity.user(user)


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


def _response(demands: Sequence[Demand], verdict: Verdict) -> web.Response:
    remaining, reset_at = MAX_WEIGHT, verdict.decision.now or now()
    if verdict.outcome is Outcome.UNAVAILABLE:
        remaining = 0
    elif (bucket := tightest(remaining_in(demands, verdict.decision))) is not None:
        remaining, reset_at = bucket.remaining, bucket.full_at
    return web.json_response(
        {"allowed": verdict.allowed, "remaining": remaining, "reset_at": format_timestamp(reset_at)}
    )
