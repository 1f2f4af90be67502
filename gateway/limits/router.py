"""`Router`: which endpoint a request belongs to.

Precedence, in this order:

1. an endpoint with a host beats one without;
2. segment by segment from the left, a literal beats ``{id}``, and ``{id}`` beats ``{rest...}``, which is also beaten by
   the end of the path; thus of two open-ended templates the longer wins;
3. an endpoint whose conditions hold beats one without conditions;
4. an endpoint that lists the request's method beats one that lists none; HEAD belongs to GET unless it is listed.

If the best template does not take the method, or has no endpoint whose conditions hold, the next best is tried. A
request that matches none belongs to the default endpoint. Only templates that fit the path from its start are looked
at, so the cost of a match depends on the path and not on the number of endpoints. Headers and query are read only where
a template that is looked at has conditions.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.limits.cases import Cases
from gateway.limits.condition import NO_FIELDS, RequestFields
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.unmatched import Unmatched


@dataclass(slots=True)
class _Leaves:
    """The endpoints of one host and template.

    Attributes:
        plain: Those without conditions, by method.
        cases: Those with conditions; None if there are none.
    """

    plain: dict[str, Endpoint] = field(default_factory=dict)
    cases: Cases | None = None


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    end: _Leaves | None = None
    rest: _Leaves | None = None


_ANY_METHOD: Final = ""

_OPEN_END: Final = sys.maxsize
"""A depth beyond all segments: the template's open end matches the rest of the path."""


class Router:
    """A tree of path segments for each host. Built once, then only read.

    Args:
        endpoints: The default endpoint, which has no template, is skipped.
        case_sensitive: Whether literals differ by case; as in the `PathPolicy` that splits the paths.

    Attributes:
        clashes: Pairs of endpoints that match the same requests; the first of each pair gets them. The configuration
            reader rejects rules that have any.
    """

    __slots__ = ("_hosts", "clashes")

    def __init__(self, endpoints: Iterable[Endpoint], *, case_sensitive: bool = False) -> None:
        self._hosts: dict[str | None, _Node] = {}
        self.clashes: list[tuple[Endpoint, Endpoint]] = []
        for endpoint in endpoints:
            if endpoint.template is not None:
                self._add(endpoint, endpoint.template, case_sensitive=case_sensitive)

    def _add(self, endpoint: Endpoint, template: Template, *, case_sensitive: bool) -> None:
        node = self._hosts.setdefault(endpoint.host, _Node())
        for segment in template.segments:
            if segment is None:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment if case_sensitive else segment.lower(), _Node())
        if template.open_ended:
            leaves = node.rest = node.rest or _Leaves()
        else:
            leaves = node.end = node.end or _Leaves()
        self.clashes.extend((rival, endpoint) for rival in dict.fromkeys(_put(leaves, endpoint)))

    def match(
        self, method: str, host: str, segments: Sequence[str], fields: RequestFields = NO_FIELDS
    ) -> Endpoint | Unmatched | None:
        """The endpoint of a request; None for the default one.

        A request that has to be rejected, because a condition cannot read it, gets the reason instead.

        Args:
            method: In upper case.
            host: In lower case, without port.
            segments: Of the canonical path, see `PathPolicy`.
            fields: What conditions read.
        """
        for root in (self._hosts.get(host), self._hosts.get(None)):
            if root is not None:
                found = _descend(root, method, segments, fields)
                if found is not None:
                    return found
        return None


def _put(leaves: _Leaves, endpoint: Endpoint) -> list[Endpoint]:
    """Add an endpoint; returns those that were there before and match the same requests."""
    methods = sorted(endpoint.methods or {_ANY_METHOD})
    if endpoint.conditions:
        leaves.cases = leaves.cases or Cases()
        return leaves.cases.add(endpoint, methods)
    return [rival for method in methods if (rival := leaves.plain.setdefault(method, endpoint)) is not endpoint]


def _descend(root: _Node, method: str, segments: Sequence[str], fields: RequestFields) -> Endpoint | Unmatched | None:
    """Search the tree depth first, the best match first."""
    node, depth, end = root, 0, len(segments)
    others: list[tuple[_Node, int]] = []  # ways not taken; the best of them is the last
    while True:
        if depth < end:
            if node.rest is not None:
                others.append((node, _OPEN_END))
            literal, parameter = node.literals.get(segments[depth]), node.parameter
            if literal is not None and parameter is not None:
                others.append((parameter, depth + 1))
            way = literal or parameter
            if way is not None:
                node, depth = way, depth + 1
                continue
        else:
            found = _pick(node.end, method, fields) if depth == end and node.end is not None else None
            if found is None and node.rest is not None:
                found = _pick(node.rest, method, fields)
            if found is not None:
                return found
        if not others:
            return None
        node, depth = others.pop()


def _pick(leaves: _Leaves, method: str, fields: RequestFields) -> Endpoint | Unmatched | None:
    if leaves.cases is not None:
        methods = (method, "GET", _ANY_METHOD) if method == "HEAD" else (method, _ANY_METHOD)
        held = leaves.cases.match(methods, fields)
        if held is not None:
            return held
    found = leaves.plain.get(method)
    if found is None and method == "HEAD":
        found = leaves.plain.get("GET")
    return found or leaves.plain.get(_ANY_METHOD)
