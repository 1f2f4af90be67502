"""One request, from the facts to the answer. This page is the data plane."""

from gateway.limits.identity import Asker, Identity
from gateway.limits.rules import RuleBook
from gateway.proxy.answers import BAD_REQUEST, TOO_MANY_REQUESTS, UNAVAILABLE, Answer
from gateway.proxy.client import Exchange
from gateway.proxy.forward import Forwarder
from gateway.proxy.request import RequestReader
from gateway.stores.limiter import Limiter, Outcome


class Proxy:
    """Lets through what the rules allow.

    Args:
        book: The rules in force.
        identity: Finds out who is asking.
        limiter: Decides.
        forwarder: Forwards what is allowed.
        reader: Reads requests.
    """

    __slots__ = ("_book", "_forwarder", "_identity", "_limiter", "_reader")

    def __init__(
        self, book: RuleBook, identity: Identity, limiter: Limiter, forwarder: Forwarder, reader: RequestReader
    ) -> None:
        self._book = book
        self._identity = identity
        self._limiter = limiter
        self._forwarder = forwarder
        self._reader = reader

    async def handle(self, exchange: Exchange) -> Exchange:
        """Answer one request."""
        peer = exchange.client.peer
        trusted = self._identity.trusts(peer)
        head = self._reader.read(exchange, trusted=trusted)
        if isinstance(head, Answer):
            exchange.refuse(head)
            return exchange
        rules = self._book.current
        endpoint = rules.match(head.method, head.target.host, head.target.path)
        if endpoint is None:
            exchange.refuse(BAD_REQUEST)
            return exchange
        caller = self._identity.identify(Asker(peer, trusted, exchange.message.headers))
        demands = rules.demands(endpoint, caller)
        if demands:
            verdict = await self._limiter.check(demands)
            if verdict.outcome is not Outcome.ALLOWED:
                exchange.answer(TOO_MANY_REQUESTS if verdict.outcome is Outcome.REFUSED else UNAVAILABLE)
                return exchange
        await self._forwarder.forward(exchange, head, endpoint.upstream)
        return exchange
