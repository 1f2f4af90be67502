"""Warns of endpoints whose limits a client can avoid by sending another Host.

The client chooses the Host. A request with another Host does not belong to an endpoint that has a `host`, but to
another endpoint or the default one. If that one has the same upstream, and limits count it less, a client can avoid
the limits of the first, unless the upstream itself refuses unknown Hosts.
"""

from collections.abc import Collection

from gateway.config.endpoint import Endpoints
from gateway.limits.endpoint import DEFAULT, Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.router import Router

_SOMETHING = "\0"
"""A segment that no template has as a literal."""

_OTHER_HOST, _OTHER_METHOD = "", ""
"""What no endpoint has."""


def warn_of_other_hosts(endpoints: Endpoints, limits: Collection[Limit], router: Router) -> None:
    """Warn of each endpoint with a host, where an enforced limit counts requests less that have another Host.

    Args:
        endpoints: All endpoints.
        limits: All limits.
        router: Of these endpoints.
    """
    enforced = [limit for limit in limits if limit.enforce]
    for endpoint in endpoints.known.values():
        if endpoint.host is None or endpoint.template is None or not endpoint.cost:
            continue
        for other in _others(endpoint, endpoint.template, router, endpoints.known[DEFAULT]):
            less = next(filter(None, (_less(limit, endpoint, other) for limit in enforced)), "")
            if less:
                endpoints.entries[endpoint.name].at("host").warn(
                    f"requests for the path with another Host belong to {other.name}, on the same upstream, {less}, "
                    "or give the path an endpoint without a host"
                )


def _others(endpoint: Endpoint, template: Template, router: Router, default: Endpoint) -> list[Endpoint]:
    """The endpoints on the same upstream to which an endpoint's requests belong when they have another Host."""
    path = [segment or _SOMETHING for segment in template.segments] + [_SOMETHING] * template.open_ended
    methods = sorted(endpoint.methods or {_OTHER_METHOD})
    found = [router.match(method, _OTHER_HOST, path) or default for method in methods]
    return [other for other in dict.fromkeys(found) if other.upstream == endpoint.upstream]


def _less(limit: Limit, endpoint: Endpoint, other: Endpoint) -> str:
    """How a limit counts the other endpoint less, and what to do about it; empty when it does not."""
    if not limit.applies_to(endpoint.name):
        return ""
    if not limit.applies_to(other.name):
        return f"which {limit.name} does not count; let it count {other.name} too"
    if other.cost < endpoint.cost:
        return f"which costs {other.cost} and not {endpoint.cost}; let it cost as much"
    return ""
