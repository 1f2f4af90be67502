"""`Proxy`: one request from its parsed head to its response. This page is the data plane."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Final

from gateway.auth.cors import Cors
from gateway.limiter.limiter import Limiter
from gateway.limiter.verdict import UNLIMITED, Outcome, OverLimits, Verdict
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.endpoint import Endpoint
from gateway.limits.identity import Identity
from gateway.limits.identity_source import Sender
from gateway.limits.measured_cost import Measurement
from gateway.limits.rejection import Rejection
from gateway.limits.rules import RuleBook, Rules
from gateway.limits.unmatched import Unmatched
from gateway.loop.eager_run import ensure_task
from gateway.proxy.allowed import Allowed, Destination
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.exchange import Exchange
from gateway.proxy.headers import BYPASS_HEADER
from gateway.proxy.observer import RequestObserver
from gateway.proxy.refusal import Refusal
from gateway.proxy.request import RequestHead, RequestReader
from gateway.proxy.responses import UNAVAILABLE
from gateway.telemetry.access_record import AccessRecord

_BYPASS_REPEATED: Final = Rejection("bypass_token", "repeated", f"a request has {BYPASS_HEADER} more than once")
_NOBODY: Final = Caller("", b"", source="")

Bypass = Callable[[str, str, str], Awaitable[bool]]
"""Whether a request with this bypass token, to this endpoint and from this address, is exempt from limits."""


def _forget(_caller: Caller) -> None:
    """Note nothing."""


class Proxy:
    """Forwards the requests that the rules allow.

    Args:
        book: Holds the current rules.
        identity: Identifies the caller.
        limiter: Decides whether a request is allowed.
        destination: Forwards allowed requests.
        reader: Reads and checks the heads of requests.
        observer: Receives the outcome of each request.
        refusal: Makes the responses to requests that are over a limit.
        bypass: Checks bypass tokens; None if there are none.
        cors: Decides which web pages may read the gateway's own responses.
        note: Is told of each caller.
    """

    __slots__ = (
        "_book", "_bypass", "_cors", "_destination", "_identity", "_limiter", "_note", "_observer", "_reader",
        "_refusal",
    )  # fmt: skip

    def __init__(
        self,
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        destination: Destination,
        reader: RequestReader,
        observer: RequestObserver,
        refusal: Refusal,
        bypass: Bypass | None = None,
        cors: Cors | None = None,
        note: Callable[[Caller], None] = _forget,
    ) -> None:
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._destination = destination
        self._reader = reader
        self._observer = observer
        self._refusal = refusal
        self._bypass = bypass
        self._note = note
        self._cors = cors if cors is not None and cors.is_on else None

    async def handle(self, exchange: Exchange) -> Exchange:
        """Handle one request."""
        began = perf_counter()
        client, peer, headers = exchange.client, exchange.client.peer, exchange.message.headers
        if self._cors is not None:
            exchange.extra_headers = header_lines(self._cors.headers(headers.get("Origin")))
        head = self._reader.read(exchange)
        if not isinstance(head, RequestHead):
            if head is BadRequest.TWO_CALLERS:
                self._identity.report_repeated(headers)
            return self._reject(exchange, head, began)
        rules = self._book.current
        endpoint = rules.match(head.method, head.target.host, head.target.path, head)
        if isinstance(endpoint, Unmatched):
            return self._reject(exchange, BadRequest.of(endpoint), began)
        caller = self._identity.identify(Sender(peer.address, peer.trusted, headers, peer.certificate), rules.holders)
        tier, max_body = rules.known_tier(caller), endpoint.max_body or client.intake.max_body
        if head.length is not None and head.length > max_body:
            outcome = Outcome.BAD_REQUEST
            self._observer.rejected("large_body")
            exchange.reject(BadRequest.LARGE_BODY)
        else:
            demands = rules.demands(endpoint, caller)
            verdict = await self._decide(exchange, rules, endpoint, caller, demands)
            outcome = verdict.outcome
            if outcome is Outcome.ALLOWED:
                try:
                    outcome = await self._destination.forward(exchange, Allowed(head, endpoint, caller, tier, max_body))
                finally:
                    if endpoint.name in rules.settling:
                        self._settle(exchange, endpoint, caller, demands, verdict)
            else:
                exchange.respond(self._refusal.response() if outcome is Outcome.REFUSED else UNAVAILABLE)
        self._report(exchange, outcome, began, head.method, endpoint.name, caller, tier)
        return exchange

    def _reject(self, exchange: Exchange, cause: BadRequest, began: float) -> Exchange:
        exchange.reject(cause)
        self._report(exchange, Outcome.BAD_REQUEST, began, exchange.message.method)
        return exchange

    async def _decide(
        self, exchange: Exchange, rules: Rules, endpoint: Endpoint, caller: Caller, demands: Sequence[Demand]
    ) -> Verdict:
        self._note(caller)
        if rules.exempting and (exempted := rules.exempt(endpoint, caller)):
            self._observer.bypassed(endpoint.name, exempted)
        if not demands:
            return UNLIMITED
        bypass = self._bypass
        tokens = exchange.message.headers.getall(BYPASS_HEADER, ()) if bypass is not None else ()
        if tokens:
            await ensure_task()  # it may connect to Redis
        if len(tokens) > 1:
            self._observer.identity_rejected(_BYPASS_REPEATED)
        elif tokens and bypass and await bypass(tokens[0], endpoint.name, exchange.client.peer.source):
            self._observer.bypassed(endpoint.name, (demand.charge.limit for demand in demands))
            return UNLIMITED
        if rules.claiming and (unusable := rules.unusable_claims(endpoint, caller)):
            self._observer.claims_unusable(unusable)
        verdict = await self._limiter.check(demands)
        self._observer.decided(endpoint.name, caller, demands, verdict)
        if refused := verdict.decision.refused:
            exchange.over = OverLimits(demands, refused)
        return verdict

    def _settle(
        self, exchange: Exchange, endpoint: Endpoint, caller: Caller, demands: Sequence[Demand], verdict: Verdict
    ) -> None:
        """Settle what is known only when an allowed request has ended, however it did."""
        if verdict is UNLIMITED:
            return
        difference = 0
        if endpoint.measured_cost is not None:
            measured = Measurement(endpoint.cost, endpoint.cost)
            if exchange.meter is not None:
                left = not exchange.client.connected
                measured = exchange.meter.measure(exchange.status, was_sent=exchange.was_sent, client_left=left)
            self._observer.measured(endpoint.name, caller, demands, verdict, measured)
            difference = measured.cost - measured.estimate
        self._limiter.settle(demands, verdict, difference)

    def _report(
        self, exchange: Exchange, outcome: Outcome, began: float, method: str, endpoint: str = "",
        caller: Caller = _NOBODY, tier: str = "",
    ) -> None:  # fmt: skip
        record = AccessRecord(
            exchange.id, endpoint, method, caller.digest, outcome, exchange.status,
            perf_counter() - began, exchange.reason, exchange.over, caller.source, tier, caller.digests,
        )  # fmt: skip
        self._observer.served(record)


def header_lines(headers: Mapping[str, str]) -> bytes:
    """The lines of headers, as they are sent."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
