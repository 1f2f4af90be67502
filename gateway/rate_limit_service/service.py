"""`RateLimitService`: decides on the descriptors of an Envoy as on a request.

All descriptors of a call are one request: their buckets are charged together or none is, and a bucket that several of
them name is charged once, with the largest of their costs.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import UNLIMITED, Outcome, OverLimits, Verdict
from gateway.limits.bucket import Decision
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.identity import Identity
from gateway.limits.remaining import with_weight
from gateway.limits.rules import RuleBook, Rules
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.headers import OVER_LIMIT_HEADER
from gateway.proxy.observer import RequestObserver
from gateway.proxy.refusal import Refusal
from gateway.proxy.request_id import RequestIds
from gateway.rate_limit_service.messages import OK, OVER_LIMIT, Request, Response
from gateway.rate_limit_service.question import Question, read_question
from gateway.telemetry.access_record import AccessRecord

_MAX_COST = 1_000_000_000
"""The largest cost, which is more than any burst."""

_MAX_DESCRIPTORS = 64
_NOBODY = Caller("", b"", source="")


class MalformedError(Exception):
    """A message cannot be read, or has no descriptor, or too many."""


class _Asked(NamedTuple):
    """A descriptor that could be read: what it asks about, and what that costs."""

    question: Question
    demands: list[Demand]


class RateLimitService:
    """Answers `ShouldRateLimit`.

    Args:
        book: The rules in force.
        identity: Makes callers of users and addresses.
        limiter: Decides.
        observer: Receives each decision, and the outcome of each call.
        refusal: The response that a refused client gets.
        descriptors: What the value of each key of a descriptor is.
    """

    __slots__ = ("_book", "_descriptors", "_identity", "_ids", "_limiter", "_nobody", "_observer", "_refusal")

    def __init__(
        self,
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        observer: RequestObserver,
        refusal: Refusal,
        descriptors: Mapping[str, str],
    ) -> None:
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._observer = observer
        self._refusal = refusal
        self._descriptors = descriptors
        self._ids = RequestIds(shown=False)
        self._nobody = identity.client(None)

    async def should_rate_limit(self, message: bytes) -> bytes:
        """The response to a request, both encoded.

        Raises:
            MalformedError: the request cannot be read.
        """
        began = perf_counter()
        try:
            request = Request.FromString(message)
        except DecodeError as error:
            raise MalformedError(str(error)) from None
        if not 1 <= len(request.descriptors) <= _MAX_DESCRIPTORS:
            raise MalformedError(f"a request has 1 to {_MAX_DESCRIPTORS} descriptors")
        rules = self._book.current
        read = [self._read(descriptor, request.hits_addend, rules) for descriptor in request.descriptors]
        asked = [each for each in read if isinstance(each, _Asked)]
        causes = [each for each in read if isinstance(each, BadRequest)]
        demands = _union(asked)
        if causes:
            verdict = Verdict(Outcome.BAD_REQUEST, False, UNLIMITED.decision)
        else:
            verdict = await self._limiter.check(demands) if demands else UNLIMITED
            self._report_decision(asked, demands, verdict)
        over = OverLimits(demands, verdict.decision.refused) if verdict.decision.refused else None
        self._report_call(rules, asked, verdict.outcome, over, causes[0].reason if causes else "", began)
        return self._respond(read, verdict, over)

    def _read(self, descriptor: Any, hits: int, rules: Rules) -> _Asked | BadRequest:
        entries = [(entry.key, entry.value) for entry in descriptor.entries]
        question = read_question(entries, self._descriptors, rules, self._identity, self._nobody)
        if isinstance(question, BadRequest):
            return question
        if rules.exempting and (exempted := rules.exempt(question.endpoint, question.caller)):
            self._observer.bypassed(question.endpoint.name, exempted)
        demands = question.demands(rules)
        if descriptor.HasField("hits_addend"):
            return _Asked(question, with_weight(demands, min(descriptor.hits_addend.value, _MAX_COST)))
        return _Asked(question, with_weight(demands, min(hits, _MAX_COST)) if hits else demands)

    def _report_decision(self, asked: Sequence[_Asked], demands: Sequence[Demand], verdict: Verdict) -> None:
        """Report what each descriptor was charged; a bucket of several belongs to the first."""
        if not demands:
            return
        if len(asked) == 1:
            self._observer.decided(asked[0].question.endpoint.name, asked[0].question.caller, demands, verdict)
            return
        positions = {demand.key: position for position, demand in enumerate(demands)}
        decision = verdict.decision
        for question, own in asked:
            mine = [place for demand in own if (place := positions.pop(demand.key, None)) is not None]
            if not mine:
                continue
            refused = tuple(index for index, place in enumerate(mine) if place in decision.refused)
            owed = tuple(decision.owed[place] for place in mine)
            part = Verdict(verdict.outcome, verdict.degraded, Decision(decision.allowed, decision.now, owed, refused))
            self._observer.decided(question.endpoint.name, question.caller, [demands[place] for place in mine], part)

    def _report_call(
        self,
        rules: Rules,
        asked: Sequence[_Asked],
        outcome: Outcome,
        over: OverLimits | None,
        reason: str,
        began: float,
    ) -> None:
        endpoint, caller = (asked[0].question.endpoint.name, asked[0].question.caller) if asked else ("", _NOBODY)
        status = HTTPStatus.OK if outcome is Outcome.ALLOWED else HTTPStatus.TOO_MANY_REQUESTS
        record = AccessRecord(
            self._ids.new(), endpoint, "POST", caller.digest, outcome, status, perf_counter() - began, reason, over,
            caller.source, rules.known_tier(caller), caller.digests,
        )  # fmt: skip
        self._observer.served(record)

    def _respond(self, read: Sequence[_Asked | BadRequest], verdict: Verdict, over: OverLimits | None) -> bytes:
        """The response. It has no numbers: an Envoy would show them to its clients."""
        if verdict.allowed and over is None:
            return _all_ok(len(read))
        response = Response(overall_code=OK if verdict.allowed else OVER_LIMIT)
        refusing = (
            {over.demands[place].key for place in over.refused if over.demands[place].charge.enforced} if over else ()
        )
        undecided = verdict.outcome is Outcome.UNAVAILABLE
        for each in read:
            is_over = (
                undecided or isinstance(each, BadRequest) or any(demand.key in refusing for demand in each.demands)
            )
            response.statuses.add(code=OVER_LIMIT if is_over else OK)
        if verdict.allowed:
            if over is not None and over.told:
                response.request_headers_to_add.add(key=OVER_LIMIT_HEADER, value=", ".join(over.told))
        else:
            refusal = self._refusal.response()
            response.raw_body = refusal.body
            for name, value in refusal.headers:
                response.response_headers_to_add.add(key=name, value=value)
        encoded: bytes = response.SerializeToString()
        return encoded


@lru_cache(maxsize=_MAX_DESCRIPTORS)
def _all_ok(descriptors: int) -> bytes:
    """The response to a request that is over no limit."""
    response = Response(overall_code=OK)
    for _ in range(descriptors):
        response.statuses.add(code=OK)
    encoded: bytes = response.SerializeToString()
    return encoded


def _union(asked: Sequence[_Asked]) -> list[Demand]:
    """The demands of all descriptors, each bucket once."""
    largest: dict[bytes, Demand] = {}
    for _, demands in asked:
        for demand in demands:
            known = largest.get(demand.key)
            if known is None or demand.charge.cost > known.charge.cost:
                largest[demand.key] = demand
    return list(largest.values())
