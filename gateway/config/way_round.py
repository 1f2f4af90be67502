"""Warns of endpoints whose limits a client can get round by another Host, or by leaving out what a condition reads.

The client chooses the Host, the headers and the query. A request that differs in one of these does not belong to an
endpoint that has a `host` or conditions, but to another endpoint or the default one. If that one has the same upstream,
and limits count it less, a client can get round the limits of the first, unless the upstream itself refuses such
requests, or serves something else.
"""

from collections.abc import Collection, Iterator, Sequence
from urllib.parse import urlencode

from gateway.config.endpoint import Endpoints
from gateway.limits.condition import HEADER, Condition, GivenFields
from gateway.limits.endpoint import DEFAULT, Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.priority import priority_of
from gateway.limits.router import Router

_SOMETHING = "\0"
"""A segment that no template has as a literal."""

_OTHER_HOST, _OTHER_METHOD = "", ""
"""What no endpoint has."""


def warn_of_ways_round(endpoints: Endpoints, limits: Collection[Limit], router: Router) -> None:
    """Warn of each endpoint with a host or conditions, where an enforced limit counts similar requests less.

    Args:
        endpoints: All endpoints.
        limits: All limits.
        router: Of these endpoints.
    """
    ways = _WaysRound(endpoints, [limit for limit in limits if limit.refuses], router)
    for endpoint in endpoints.known.values():
        if endpoint.template is not None and endpoint.cost:
            ways.warn(endpoint, endpoint.template)


class _WaysRound:
    def __init__(self, endpoints: Endpoints, enforced: Sequence[Limit], router: Router) -> None:
        self._endpoints = endpoints
        self._enforced = enforced
        self._router = router
        self._methods = {_OTHER_METHOD}.union(*(each.methods for each in endpoints.known.values()))

    def warn(self, endpoint: Endpoint, template: Template) -> None:
        if endpoint.host is not None:
            for other, less in self._looser(endpoint, template, _OTHER_HOST, endpoint.conditions):
                self._endpoints.entries[endpoint.name].at("host").warn(
                    f"requests for the path with another Host belong to {other.name}, on the same upstream, {less}, "
                    "or give the path an endpoint without a host"
                )
        for condition in endpoint.conditions:
            rest = tuple(each for each in endpoint.conditions if each is not condition)
            for other, less in self._looser(endpoint, template, endpoint.host or _OTHER_HOST, rest):
                own = "" if other.template == template else ", or give the path an endpoint without conditions"
                self._endpoints.entries[endpoint.name].at(_key(condition)).warn(
                    f"requests without {condition.title} belong to {other.name}, on the same upstream, {less}{own}, or "
                    "ignore this if the upstream refuses them or serves them something else"
                )

    def _looser(
        self, endpoint: Endpoint, template: Template, host: str, conditions: Sequence[Condition]
    ) -> Iterator[tuple[Endpoint, str]]:
        """The endpoints on the same upstream that count an endpoint's requests less, and how much less.

        Args:
            endpoint: The endpoint.
            template: Of the endpoint.
            host: That the requests have.
            conditions: Those that the requests meet, with the first of their values.
        """
        path = [segment or _SOMETHING for segment in template.segments] + [_SOMETHING] * template.open_ended
        fields = _fields(conditions)
        methods = sorted(endpoint.methods or self._methods)
        default = self._endpoints.known[DEFAULT]
        found = [self._router.match(method, host, path, fields) or default for method in methods]
        for other in dict.fromkeys(found):
            if isinstance(other, Endpoint) and other.upstream == endpoint.upstream:
                less = next(filter(None, (_less(limit, endpoint, other) for limit in self._enforced)), "")
                if less:
                    yield other, less


def _fields(conditions: Sequence[Condition]) -> GivenFields:
    """What a request has that meets these conditions."""
    headers = [(each.name, min(each.values)) for each in conditions if each.source == HEADER]
    query = [(each.name, min(each.values)) for each in conditions if each.source != HEADER]
    return GivenFields(tuple(headers), urlencode(query))


def _key(condition: Condition) -> str:
    """The key of a rule file in which a condition is."""
    return "headers" if condition.source == HEADER else "query"


def _less(limit: Limit, endpoint: Endpoint, other: Endpoint) -> str:
    """How a limit counts the other endpoint less, and what to do about it; empty when it does not."""
    if not limit.applies_to(endpoint.name):
        return ""
    if not limit.applies_to(other.name):
        return f"which {limit.name} does not count; let it count {other.name} too"
    if other.cost < endpoint.cost:
        return f"which costs {other.cost} and not {endpoint.cost}; let it cost as much"
    own, others = (priority_of(each.priority, None) for each in (endpoint, other))
    if limit.reserve.kept_from(others) < limit.reserve.kept_from(own):
        return f"from which {limit.name} keeps less, at priority {others.value} and not {own.value}; give it the same"
    return ""
