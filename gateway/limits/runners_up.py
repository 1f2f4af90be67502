"""`runners_up`: the endpoints that a request could have belonged to, and the rule by which another one beat each.

The order is the router's own: it is asked again without those that have won before. The rules are those of `Router`.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.limits.condition import NO_FIELDS, Condition, RequestFields, read
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.router import Router
from gateway.limits.unmatched import Unmatched

_MOST = 20
"""Runners-up that are named."""


class Request(NamedTuple):
    """What a router matches.

    Attributes:
        method: In upper case.
        host: In lower case, without port; empty if the request has none.
        segments: Of the canonical path.
        fields: What conditions read.
    """

    method: str
    host: str
    segments: Sequence[str]
    fields: RequestFields = NO_FIELDS


class RunnerUp(NamedTuple):
    """An endpoint whose template fits a request that belongs to another one.

    Attributes:
        endpoint: The endpoint.
        why: The rule that decided, in a sentence.
    """

    endpoint: Endpoint
    why: str


def runners_up(
    endpoints: Iterable[Endpoint], winner: Endpoint, request: Request, *, case_sensitive: bool
) -> tuple[RunnerUp, ...]:
    """Those that take the request, best first; then those whose path fits, but something else does not. 20 at most."""
    left = [
        each
        for each in endpoints
        if each is not winner and each.template is not None and _fits(each.template, request.segments, case_sensitive)
    ]
    able = [each for each in left if each.host in {None, request.host} and not _unmet(each, request)]
    found: list[RunnerUp] = []
    while len(found) < _MOST:
        best = Router(able, case_sensitive=case_sensitive).match(*request)
        if not isinstance(best, Endpoint):
            break
        found.append(RunnerUp(best, _why_beaten(best, winner, request)))
        able.remove(best)
        left.remove(best)
    return (*found, *(RunnerUp(each, _why_not(each, request)) for each in left[: _MOST - len(found)]))


def unreadable(endpoints: Iterable[Endpoint], request: Request, *, case_sensitive: bool) -> list[str]:
    """The headers and query keys, in words, that conditions on a request's path cannot read in one way."""
    conditions = (
        condition
        for each in endpoints
        if each.template is not None
        and each.host in {None, request.host}
        and _takes_method(each, request)
        and _fits(each.template, request.segments, case_sensitive)
        for condition in each.conditions
    )
    titles = {each.key: each.title for each in conditions if isinstance(read(request.fields, each.key), Unmatched)}
    return sorted(titles.values())


def _fits(template: Template, segments: Sequence[str], case_sensitive: bool) -> bool:
    length = len(template.segments)
    if length > len(segments) or (length < len(segments) and not template.open_ended):
        return False
    return all(
        wanted is None or (wanted if case_sensitive else wanted.lower()) == segment
        for wanted, segment in zip(template.segments, segments, strict=False)
    )


def _why_not(endpoint: Endpoint, request: Request) -> str:
    """Why an endpoint whose path fits does not take a request."""
    if endpoint.host not in {None, request.host}:
        return f"it is for the host {endpoint.host}, and the request {_named(request.host)}"
    if not _takes_method(endpoint, request):
        return f"it takes {', '.join(sorted(endpoint.methods))}, and not {request.method}"
    return _unmet(endpoint, request)


def _unmet(endpoint: Endpoint, request: Request) -> str:
    """The first condition of an endpoint that a request does not meet, in words; empty if it meets all."""
    return next(filter(None, (_why_unmet(condition, request) for condition in endpoint.conditions)), "")


def _takes_method(endpoint: Endpoint, request: Request) -> bool:
    methods = endpoint.methods
    return not methods or request.method in methods or (request.method == "HEAD" and "GET" in methods)


def _why_unmet(condition: Condition, request: Request) -> str:
    """Why a request does not meet a condition; empty if it does. Does not quote what a client sent."""
    value = read(request.fields, condition.key)
    if isinstance(value, Unmatched):
        return f"servers read {condition.title} in this request in different ways"
    if value in condition.values:
        return ""
    found = "does not have it" if value is None else "has another value"
    return f"it needs {condition}, and the request {found}"


def _named(host: str) -> str:
    return f"is for {host}" if host else "names no host"


def _why_beaten(endpoint: Endpoint, winner: Endpoint, request: Request) -> str:
    """The first of the router's rules by which `winner` is better than an endpoint that takes the request, too."""
    if winner.host is not None and endpoint.host is None:
        return f"{winner.name} is for the host {winner.host}, which beats any host"
    for position, (better, worse) in enumerate(zip(_parts(winner), _parts(endpoint), strict=False), start=1):
        if better.lower() != worse.lower():
            return f"at segment {position}, {better} in {winner.name} beats {worse}"
    if winner.conditions and not endpoint.conditions:
        return f"the request meets the conditions of {winner.name}, and this one has none"
    if request.method in winner.methods:
        listed = f"only GET, to which {request.method} belongs" if endpoint.methods else "none"
        return f"{winner.name} lists the method {request.method}, and this one lists {listed}"
    return f"{winner.name} lists GET, to which {request.method} belongs, and this one lists no methods"


def _parts(endpoint: Endpoint) -> list[str]:
    """The kinds of a template's segments, and of its end. Where two templates fit a path, equal kinds match equally."""
    template = endpoint.template
    if template is None:
        return []
    kinds = ["{id}" if segment is None else f"the literal {segment}" for segment in template.segments]
    return [*kinds, "{rest...}" if template.open_ended else "the end of the path"]
