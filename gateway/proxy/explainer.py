"""`Explainer`: takes a request through the proxy's own code up to the limiter, and explains what it finds there.

The request is parsed, read, matched and identified by the classes that serve requests; nothing is charged, forwarded or
reported.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gateway.auth.identity import build_identity, credential_headers, identity_headers
from gateway.auth.key_ring import KeyRings
from gateway.limits.caller import Caller
from gateway.limits.explanation import Explanation, Question, Unserved, explain
from gateway.limits.identification import Attempt, attempts
from gateway.limits.identity import unreported
from gateway.limits.identity_source import Sender
from gateway.limits.rules import Rules
from gateway.limits.runners_up import Request, unreadable
from gateway.limits.unmatched import Unmatched
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.client import Client
from gateway.proxy.client_certificate import read_certificate
from gateway.proxy.exchange import Exchange
from gateway.proxy.peer import Peer
from gateway.proxy.request import RequestReader
from gateway.proxy.request_id import RequestIds
from gateway.proxy.request_parser import RequestParser
from gateway.proxy.write_coalescer import WriteCoalescer
from gateway.settings.gateway import Settings
from gateway.settings.identity import Jwt


class Explainer:
    """Explains requests as this gateway would serve them.

    Args:
        settings: Who identifies callers, and how large a request may be.
        rings: The keys of tokens.
    """

    def __init__(self, settings: Settings, rings: KeyRings) -> None:
        who = settings.identity
        self._intake = settings.intake
        self._identity = build_identity(who, settings.intake.max_header, rings, unreported)
        self._jwt = next((each for each in who.sources if isinstance(each, Jwt)), None)
        self._reader = RequestReader(identity_headers(who), credential_headers(who), who.proxy_headers)

    def explain(self, rules: Rules, question: Question, loop: asyncio.AbstractEventLoop) -> Explanation | Unserved:
        """How rules treat a request; takes nothing.

        Args:
            rules: Those in force.
            question: The request.
            loop: An event loop, which need not run.
        """
        exchange = self._parse(question, loop)
        if isinstance(exchange, BadRequest):
            return _unserved(exchange)
        head = self._reader.read(exchange)
        if isinstance(head, BadRequest):
            return _unserved(head)
        endpoint = rules.match(head.method, head.target.host, head.target.path, head)
        request = Request(head.method, head.target.host, rules.paths.segments(head.target.path) or (), head)
        if isinstance(endpoint, Unmatched):
            what: Sequence[str] = ()
            if endpoint is Unmatched.CONDITION:
                case_sensitive = rules.paths.case_sensitive
                what = unreadable(rules.endpoints.values(), request, case_sensitive=case_sensitive)
            return _unserved(BadRequest.of(endpoint), what)
        if head.length is not None and head.length > (endpoint.max_body or self._intake.max_body):
            return _unserved(BadRequest.LARGE_BODY)
        peer = exchange.client.peer
        certificate = None if question.certificate is None else read_certificate(question.certificate)
        sender = Sender(peer.address, peer.trusted, exchange.message.headers, certificate)
        return explain(rules, endpoint, request, *self._identify(rules, sender, question))

    def _identify(self, rules: Rules, sender: Sender, question: Question) -> tuple[Caller, tuple[Attempt, ...]]:
        caller = self._identity.identify(sender, rules.holders)
        if question.user is None:
            return caller, attempts(self._identity, sender)
        attributes, holders = question.attributes or None, rules.holders
        user = self._identity.user(question.user, question.tier, attributes=attributes, holders=holders)
        located = {each.name: caller.digests[each.name] for each in holders if each.prefixes is not None}
        return replace(user, address=caller.address, digests={**user.digests, **located}), ()

    def _token_line(self, token: str | None) -> str:
        jwt = self._jwt
        if jwt is None:
            return f"Authorization: Bearer {token}"
        if jwt.cookie is not None:
            return f"Cookie: {jwt.cookie}={token}"
        return f"{jwt.header}: {'Bearer ' * jwt.bearer}{token}"

    def _parse(self, question: Question, loop: asyncio.AbstractEventLoop) -> Exchange | BadRequest:
        parser = RequestParser(loop, self._intake)
        names_host = any(name.lower() == "host" for name, _ in question.headers)
        lines = [
            f"{question.method} {question.target} HTTP/1.1",
            *["Host:"] * (not names_host),  # which HTTP/1.1 requires, and may be empty (RFC 9112 section 3.2)
            *(f"{name}: {value}" for name, value in question.headers),
            *[self._token_line(question.token)] * (question.token is not None),
        ]
        parser.data_received("".join(f"{line}\r\n" for line in [*lines, ""]).encode(errors="surrogateescape"))
        if not parser.queue:
            return parser.refusal or BadRequest.UNREADABLE
        address = question.address
        peer = Peer(address, str(address or ""), "http", self._identity.trusts(address))
        client = Client(None, peer, self._intake, parser, WriteCoalescer(loop))
        return Exchange(*parser.pop(), client, RequestIds(shown=False))


def _unserved(cause: BadRequest, what: Sequence[str] = ()) -> Unserved:
    why = f"{cause.why}: {', '.join(what)}" if what else cause.why
    return Unserved(cause.response.status, cause.reason, why)
