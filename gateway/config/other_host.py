"""Warns of endpoints that a client gets round by sending another Host.

A Host is what a client says. Requests with another one do not belong to an endpoint that has a `host`: they belong to
another endpoint, or to the default one. Where that goes to the same upstream, and limits count it less, a limit on
the first holds nobody who knows that, unless the upstream itself refuses Hosts that it does not know.
"""

from collections.abc import Collection

from gateway.config.endpoint import Endpoints
from gateway.limits.endpoint import DEFAULT, Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.router import Router

_SOMETHING = "\0"
"""A segment that is no literal of any template."""

_OTHER_HOST, _OTHER_METHOD = "", ""
"""What no endpoint lists."""


def warn_of_other_hosts(endpoints: Endpoints, limits: Collection[Limit], router: Router) -> None:
    """Warn of each endpoint with a host, where an enforced limit counts requests less that have another Host.

    Args:
        endpoints: As they were read.
        limits: All there are.
        router: Of these endpoints.
    """
    enforced = [limit for limit in limits if limit.enforce]
    for endpoint in endpoints.known.values():
        if endpoint.host is None or endpoint.template is None or not endpoint.cost:
            continue
        for other in _others(endpoint, endpoint.template, router, endpoints.known[DEFAULT]):
            less = next(filter(None, (_less(limit, endpoint, other) for limit in enforced)), "")
            if less:
                endpoints.fields[endpoint.name].at("host").warn(
                    f"requests for the same path with another Host reach the same upstream as {other.name}, {less}, "
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
