"""`ExplainApi`: how the rules in force treat a request, and what its buckets hold now."""

import asyncio
from collections.abc import Callable, Mapping
from ssl import PEM_cert_to_DER_cert
from typing import Any

from aiohttp import web

from gateway.auth.grant import Scope
from gateway.auth.guard import Guard
from gateway.auth.timestamps import format_timestamp, now
from gateway.control.http.request import authorize, read_json_body
from gateway.control.json_object import JsonObject
from gateway.control.tiers import SeenTiers
from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import Outcome
from gateway.limits.address import parse_address
from gateway.limits.explanation import Explanation, Question, Unserved, as_document
from gateway.limits.forecast import forecast
from gateway.limits.identity import Identity
from gateway.limits.override import BLOCKED
from gateway.limits.quota import LARGEST
from gateway.limits.remaining import with_weight
from gateway.limits.rules import RuleBook, Rules

Explain = Callable[[Rules, Question, asyncio.AbstractEventLoop], Explanation | Unserved]
"""Explains a request under rules, as the proxy would serve it."""

_MAX_REQUEST, _MAX_TOKEN, _MAX_HEADER, _MAX_CERTIFICATE = 4096, 8192, 2048, 16_384
"""Characters."""

_MAX_HEADERS = 20


class ExplainApi:
    """Explains requests. Nothing is charged.

    Args:
        guard: Admits callers with scope ``limits:read``.
        book: The rules in force.
        explain: Takes the request through the proxy's code.
        identity: Makes a caller of a user id.
        limiter: Knows what buckets hold.
        tiers: Knows in which tier a user was seen last.
    """

    def __init__(
        self, guard: Guard, book: RuleBook, explain: Explain, identity: Identity, limiter: Limiter, tiers: SeenTiers
    ) -> None:
        self._guard = guard
        self._book = book
        self._explain = explain
        self._identity = identity
        self._limiter = limiter
        self._tiers = tiers

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/v1/admin/explain", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        await authorize(request, self._guard, Scope.READ_LIMITS)
        body = await read_json_body(request)
        user = body.string("user_id") if "user_id" in body else None
        tier = body.string("tier", 64) if "tier" in body else None
        if user is None and tier is not None:
            body.refuse("tier", "needs user_id; without it, the headers say who the caller is")
        if user and tier is None and not body.has_errors:
            tier = await self._tiers.last(self._identity.user(user).digest)
        attributes = body.texts("attributes")
        if user is None and attributes:
            body.refuse("attributes", "needs user_id; without it, the headers say who the caller is")
        for name in attributes.keys() - self._identity.attributes:
            body.refuse("attributes", f"no identity source names {name[:64]}")
        question = _question(body, user, tier, attributes)
        body.close()
        assert question is not None  # noqa: S101 - else `close` has raised
        explained = self._explain(self._book.current, question, asyncio.get_running_loop())
        document = as_document(explained)
        if isinstance(explained, Explanation):
            document |= await self._now(explained, document)
        return web.json_response(document)

    async def _now(self, explained: Explanation, document: dict[str, Any]) -> dict[str, Any]:
        """What the buckets hold, and whether the request would pass."""
        overrides = [
            {**shown, "expires_at": format_timestamp(each.expires_at) if each.expires_at < LARGEST else None}
            for shown, each in zip(document["overrides"], explained.overrides, strict=True)
        ]
        demands = [demand for demand in explained.demands if demand.charge.limit != BLOCKED]
        verdict = await self._limiter.check(with_weight(demands, 0))
        instant = verdict.decision.now or now()
        found = forecast(demands, verdict.decision.owed, instant)
        buckets = [
            {**shown, "remaining": each.remaining, "payable_at": _instant(each.payable_at)}
            for shown, each in zip(document["buckets"], found.buckets, strict=True)
        ]
        passes_at = None if document["blocked"] else found.passes_at
        unavailable = verdict.outcome is Outcome.UNAVAILABLE
        return {
            "overrides": overrides,
            "buckets": buckets,
            "allowed": not unavailable and passes_at is not None and passes_at <= instant,
            "allowed_from": None if unavailable else _instant(passes_at),
            "unavailable": unavailable,
            "degraded": self._limiter.is_degraded,
        }


def _instant(instant: int | None) -> str | None:
    return None if instant is None else format_timestamp(instant)


def _question(body: JsonObject, user: str | None, tier: str | None, attributes: Mapping[str, str]) -> Question | None:
    """The question of a body. None is noted as an error."""
    method, space, target = body.string("request", _MAX_REQUEST).partition(" ")
    headers = [each.partition(":") for each in body.strings("headers", _MAX_HEADER, most=_MAX_HEADERS)]
    address = parse_address(body.string("address", 45)) if "address" in body else None
    if "address" in body and address is None:
        body.refuse("address", "must be an IP address")
    token = body.string("token", _MAX_TOKEN) if "token" in body else None
    certificate = _certificate(body)
    if not all(colon for _, colon, _ in headers):
        body.refuse("headers", "must be headers such as X-Plan: gold")
    if method and not space:
        body.refuse("request", "must be a method and a path, as in GET /v1/orders/7")
    if body.has_errors:
        return None
    fields = tuple((name, value.strip()) for name, _, value in headers)
    try:
        return Question(method, target, fields, address, user, tier, attributes, token, certificate)
    except ValueError as error:
        body.refuse("request", str(error))
        return None


def _certificate(body: JsonObject) -> bytes | None:
    """The client's certificate in DER; None if there is none, or it is noted as an error."""
    text = body.string("certificate", _MAX_CERTIFICATE) if "certificate" in body else ""
    if not text:
        return None
    try:
        return PEM_cert_to_DER_cert(text)
    except ValueError:
        body.refuse("certificate", "must be a certificate in PEM")
        return None
