"""`CheckLimitApi`: the proxy's own decision for services that ask for it, ``POST /api/v1/check-limit``."""

import json
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.control.guard import Guard, address_of
from gateway.control.http.json_body import Members, read_json_body
from gateway.control.http.problem import Problem
from gateway.control.timestamps import format_timestamp, now
from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import Outcome, Verdict
from gateway.limits.address import Network, belongs
from gateway.limits.bucket import Demand
from gateway.limits.endpoint import Endpoint
from gateway.limits.identity import Caller, Identity
from gateway.limits.remaining import remaining_in, tightest, with_weight
from gateway.limits.rules import RuleBook, Rules

HEAVIEST = 1_000_000_000
"""The largest weight; also what remains for a user whom nothing limits."""

_REQUEST = re.compile(r"([A-Z]{1,32}) (/[^?\x00-\x20\x7f]*)(?:\?[^\x00-\x20\x7f]*)?", re.ASCII)


class CheckLimitApi:
    """Decides by the same rules, on the same buckets and through the same limiter as the proxy.

    Args:
        guard: Lets callers with scope ``check`` pass.
        open_to: Networks whose callers need no token.
        book: The rules in force.
        identity: Makes a caller of a user id.
        limiter: Decides.
        observer: Is told each decision.
    """

    def __init__(
        self,
        guard: Guard,
        open_to: Sequence[Network],
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        observer: Callable[[str, Caller, Sequence[Demand], Verdict], None],
    ) -> None:
        self._guard = guard
        self._open_to = open_to
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._observer = observer

    def add_to(self, app: web.Application) -> None:
        """Serve the path."""
        app.router.add_post("/api/v1/check-limit", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        if not belongs(address_of(request), self._open_to):
            await self._guard.admit(request, Scope.CHECK)
        members = await read_json_body(request)
        user = members.text("user_id")
        name = members.text("endpoint", 8192)
        weight = members.whole("weight", 0, HEAVIEST)
        rules = self._book.current
        endpoint = _endpoint(rules, name, members) if name else None
        members.close()
        if endpoint is None:  # close has said why
            raise Problem(HTTPStatus.BAD_REQUEST)
        caller = self._identity.user(user)
        demands = with_weight(rules.demands(endpoint, caller), weight)
        verdict = await self._limiter.check(demands)
        if demands and weight:
            self._observer(endpoint.name, caller, demands, verdict)
        return _told(demands, verdict)


def _endpoint(rules: Rules, name: str, members: Members) -> Endpoint | None:
    """The endpoint of this name, or that a request such as ``GET /v1/orders/7`` belongs to."""
    if " " not in name:
        found = rules.endpoints.get(name)
        if found is None:
            members.refuse("endpoint", "the name of an endpoint, or a method and a path, as in GET /v1/orders/7")
        return found
    form = _REQUEST.fullmatch(name)
    found = rules.match(form[1], "", form[2]) if form else None
    if found is None:
        members.refuse("endpoint", "this is not a method and a path that the proxy would take")
    return found


def _told(demands: Sequence[Demand], verdict: Verdict) -> web.Response:
    remaining, reset_at = HEAVIEST, verdict.decision.now or now()
    if verdict.outcome is Outcome.UNAVAILABLE:
        remaining = 0
    elif (balance := tightest(remaining_in(demands, verdict.decision))) is not None:
        remaining, reset_at = balance.remaining, balance.full_at
    answer = {"allowed": verdict.allowed, "remaining": remaining, "reset_at": format_timestamp(reset_at)}
    return web.Response(text=json.dumps(answer), content_type="application/json")
