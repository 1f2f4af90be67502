"""Reads `limits` and exemptions."""

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from gateway.config.fields import Fields
from gateway.config.node import Node, quote
from gateway.config.problem import InvalidError
from gateway.config.scalar import Reader, boolean, choice, each, name, network, text, whole
from gateway.limits.bucket import FailurePolicy, Quota
from gateway.limits.endpoint import Endpoint
from gateway.limits.limit import Exemption, Limit
from gateway.limits.rate import Rate

_LARGEST_BURST = 1_000_000_000_000
_NEARLY_A_RATE = re.compile(r"\s*([0-9]+)\s*(?:/|per)\s*([0-9]*)\s*([A-Za-z]+)\s*", re.ASCII)
_UNITS = ("second", "seconds", "minute", "minutes", "hour", "hours", "day", "days")
_LONGEST_RATE = 64
_SCOPES = ("user", "endpoint")


def rate(node: Node) -> Rate:
    """Tokens a period, see `Rate.parse`."""
    value = text(node)
    try:
        return Rate.parse(value)
    except ValueError as error:
        form = _NEARLY_A_RATE.fullmatch(value)
        unit = node.source.log.nearest(form[3].lower(), _UNITS) if form else ""
        near = f"{form[1]}/{form[2]}{unit}" if form and unit else ""
        reason = (
            str(error) if len(value) <= _LONGEST_RATE else "this is not a rate; write tokens/period, as in 100/minute"
        )
        raise node.refuse(reason, "" if near == value else near) from None


def _per(node: Node) -> tuple[str, ...]:
    scope = choice(*_SCOPES)
    if node.is_scalar:
        return (scope(node),)
    return each(scope, least=1)(node)


def _tier(node: Node) -> Quota:
    return quota(Fields(node, TIER_KEYS, required=("rate",)))


def quota(fields: Fields) -> Quota:
    """Rate and burst; without a burst, as many as the rate's tokens a period."""
    speed: Rate | None = fields.values.get("rate")
    if speed is None or ("burst" in fields and "burst" not in fields.values):
        raise InvalidError
    try:
        return Quota(speed, fields.values.get("burst", speed.tokens))
    except ValueError as error:
        raise fields.at("burst" if "burst" in fields else "rate").refuse(str(error)) from None


def _tiers(node: Node) -> dict[str, Quota]:
    tiers = {}
    for key_node, child in node.entries().values():
        with suppress(InvalidError):
            tiers[text(key_node)] = _tier(child)
    return tiers


def _failure_policy(node: Node) -> FailurePolicy:
    return FailurePolicy(choice(*(policy.value for policy in FailurePolicy))(node))


def exemption(node: Node) -> Exemption:
    """``{users: [...], networks: [...]}``."""
    fields = Fields(node, EXEMPT_KEYS)
    return Exemption(frozenset(fields.values.get("users", ())), fields.values.get("networks", ()))


TIER_KEYS: dict[str, Reader] = {"rate": rate, "burst": whole(1, _LARGEST_BURST)}
EXEMPT_KEYS: dict[str, Reader] = {"users": each(text), "networks": each(network)}
KEYS: dict[str, Reader] = {
    "name": name,
    "per": _per,
    "endpoints": lambda node: node.items(),
    "rate": rate,
    "burst": whole(1, _LARGEST_BURST),
    "tiers": _tiers,
    "enforce": boolean,
    "exempt": exemption,
    "when_redis_is_down": _failure_policy,
}


class Limits:
    """The limits of all rule files.

    Args:
        nodes: The items of all `limits`.
        endpoints: Names of the endpoints there are.
        exempt: Whom no limit counts.

    Attributes:
        known: By name, in the order of the files.
        fields: Where each was read.
    """

    __slots__ = ("_endpoints", "_exempt", "fields", "known")

    def __init__(self, nodes: Iterable[Node], endpoints: Collection[str], exempt: Exemption) -> None:
        self._endpoints = endpoints
        self._exempt = exempt
        self.known: dict[str, Limit] = {}
        self.fields: dict[str, Fields] = {}
        for node in nodes:
            with suppress(InvalidError):
                self._add(node)

    def _add(self, node: Node) -> None:
        fields = Fields(node, KEYS, required=("name", "per", "rate"))
        values = fields.values
        per = values.get("per", ())
        if "tiers" in fields and per == ("endpoint",):
            fields.at("tiers").refuse("a bucket that all users share has one size; tiers need per: user")
        named = self._named(fields)
        called = values.get("name")
        if called in self.fields:
            place = self.fields[called].at("name").place
            fields.at("name").refuse(f"two limits are called {called!r}; the other is at {place}")
        elif called is not None:
            self.fields[called] = fields
        size = quota(fields)
        if called is None or self.fields[called] is not fields:
            raise InvalidError
        exempt: Exemption = values.get("exempt", Exemption())
        self.known[called] = Limit(
            called,
            "user" in per,
            "endpoint" in per,
            size,
            named,
            exempt=Exemption(exempt.users | self._exempt.users, exempt.networks + self._exempt.networks),
            **{key: values[key] for key in ("tiers", "enforce", "when_redis_is_down") if key in values},
        )

    def _named(self, fields: Fields) -> frozenset[str]:
        """The endpoints the limit names, which have to exist."""
        if "endpoints" not in fields.values:
            return frozenset()

        def known(node: Node) -> str:
            endpoint = text(node)
            if endpoint not in self._endpoints:
                near = node.nearest(endpoint, self._endpoints)
                raise node.refuse(f"there is no endpoint {quote(endpoint)} in the rules", near)
            return endpoint

        with suppress(InvalidError):
            return frozenset(each(known, least=1)(fields.at("endpoints")))
        return frozenset()

    def warn_of_unpayable(self, endpoints: Iterable[Endpoint]) -> None:
        """Warn of each limit that can never let a request to an endpoint pass, because it costs more than is held."""
        costly = sorted((endpoint for endpoint in endpoints if endpoint.cost > 1), key=lambda endpoint: -endpoint.cost)
        for limit in self.known.values():
            if limit.enforce:
                for place, size, who in self._buckets(limit):
                    _warn_of_unpayable(place, size, who, limit, costly)

    def _buckets(self, limit: Limit) -> Iterator[tuple[Node, Quota, str]]:
        fields = self.fields[limit.name]
        yield fields.at("burst" if "burst" in fields else "rate"), limit.quota, ""
        for tier, size in limit.tiers.items():
            yield fields.at("tiers"), size, f" of tier {tier}"


def _warn_of_unpayable(place: Node, size: Quota, who: str, limit: Limit, costly: Iterable[Endpoint]) -> None:
    for endpoint in costly:
        if endpoint.cost <= size.burst:
            return
        if limit.applies_to(endpoint.name):
            place.warn(
                f"no request{who} to {endpoint.name} can pass under {limit.name}, because it costs {endpoint.cost} and "
                f"at most {size.burst} are held; raise the burst to {endpoint.cost} or more, or lower the cost"
            )
