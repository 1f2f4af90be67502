"""`runners_up`: the endpoints that a request could have belonged to, and the rule by which another one beat each.

The order is the router's own: it is asked again without those that have won before. The rules are those of `Router`.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.router import Router

_MOST = 20
"""Runners-up that are named."""


class Request(NamedTuple):
    """What a router matches.

    Attributes:
        method: In upper case.
        host: In lower case, without port; empty if the request has none.
        segments: Of the canonical path.
    """

    method: str
    host: str
    segments: Sequence[str]


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
    """Those that take the request, best first; then those whose path fits, but not the host or method. 20 at most."""
    left = [
        each
        for each in endpoints
        if each is not winner and each.template is not None and _fits(each.template, request.segments, case_sensitive)
    ]
    found: list[RunnerUp] = []
    while len(found) < _MOST:
        of_host = [each for each in left if each.host in {None, request.host}]
        best = Router(of_host, case_sensitive=case_sensitive).match(*request)
        if best is None:
            break
        found.append(RunnerUp(best, _why_beaten(best, winner, request)))
        left.remove(best)
    return (*found, *(RunnerUp(each, _why_not(each, request)) for each in left))[:_MOST]


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
    return f"it takes {', '.join(sorted(endpoint.methods))}, and not {request.method}"


def _named(host: str) -> str:
    return f"is for {host}" if host else "names no host"


def _why_beaten(endpoint: Endpoint, winner: Endpoint, request: Request) -> str:
    """The first of the router's rules by which `winner` is better than an endpoint that takes the request, too."""
    if winner.host is not None and endpoint.host is None:
        return f"{winner.name} is for the host {winner.host}, which beats any host"
    for position, (better, worse) in enumerate(zip(_parts(winner), _parts(endpoint), strict=False), start=1):
        if better.lower() != worse.lower():
            return f"at segment {position}, {better} in {winner.name} beats {worse}"
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
