"""One request, from the facts to the answer. This page is the data plane."""

from time import perf_counter

from gateway.limits.bucket import Demand
from gateway.limits.identity import Asker, Identity
from gateway.limits.rules import RuleBook
from gateway.proxy.answers import BAD_REQUEST, TOO_MANY_REQUESTS, UNAVAILABLE, Answer
from gateway.proxy.client import Exchange
from gateway.proxy.forward import Forwarder
from gateway.proxy.request import RequestReader
from gateway.proxy.witness import Fate, Witness
from gateway.stores.limiter import Limiter
from gateway.stores.verdict import Outcome


class Proxy:
    """Lets through what the rules allow.

    Args:
        book: The rules in force.
        identity: Finds out who is asking.
        limiter: Decides.
        forwarder: Forwards what is allowed.
        reader: Reads requests.
        witness: Is told what became of each.
    """

    __slots__ = ("_book", "_forwarder", "_identity", "_limiter", "_reader", "_witness")

    def __init__(
        self,
        book: RuleBook,
        identity: Identity,
        limiter: Limiter,
        forwarder: Forwarder,
        reader: RequestReader,
        witness: Witness,
    ) -> None:
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._forwarder = forwarder
        self._reader = reader
        self._witness = witness

    async def handle(self, exchange: Exchange) -> Exchange:
        """Answer one request."""
        began = perf_counter()
        peer = exchange.client.peer
        trusted = self._identity.trusts(peer)
        head = self._reader.read(exchange, trusted=trusted)
        if isinstance(head, Answer):
            return self._turn_away(exchange, head, began)
        rules = self._book.current
        endpoint = rules.match(head.method, head.target.host, head.target.path)
        if endpoint is None:
            return self._turn_away(exchange, BAD_REQUEST, began)
        caller = self._identity.identify(Asker(peer, trusted, exchange.message.headers))
        fate = await self._decide(rules.demands(endpoint, caller))
        if fate is Fate.ALLOWED:
            fate = await self._forwarder.forward(exchange, head, endpoint.upstream)
        else:
            exchange.answer(TOO_MANY_REQUESTS if fate is Fate.REFUSED else UNAVAILABLE)
        self._bear_witness(exchange, endpoint.name, caller.digest, fate, began)
        return exchange

    def _turn_away(self, exchange: Exchange, answer: Answer, began: float) -> Exchange:
        exchange.refuse(answer)
        self._bear_witness(exchange, "", b"", Fate.BAD_REQUEST, began)
        return exchange

    async def _decide(self, demands: list[Demand]) -> Fate:
        if not demands:
            return Fate.ALLOWED
        verdict = await self._limiter.check(demands)
        self._witness.decided(demands, verdict)
        return _FATES[verdict.outcome]

    def _bear_witness(self, exchange: Exchange, endpoint: str, caller: bytes, fate: Fate, began: float) -> None:
        method, status = exchange.message.method, exchange.status
        self._witness.served(endpoint, method, caller, fate, status, perf_counter() - began)


_FATES = {
    Outcome.ALLOWED: Fate.ALLOWED,
    Outcome.REFUSED: Fate.REFUSED,
    Outcome.UNAVAILABLE: Fate.UNAVAILABLE,
}
