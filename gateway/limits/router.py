"""`Router`: which endpoint a request belongs to.

Precedence, in this order:

1. an endpoint with a host beats one without;
2. segment by segment from the left, a literal beats ``{id}``, and ``{id}`` beats ``{rest...}``, which is also beaten by
   the end of the path; thus of two open-ended templates the longer wins;
3. an endpoint that lists the request's method beats one that lists none; HEAD belongs to GET unless it is listed.

If the best template does not take the method, the next best is tried. A request that matches none belongs to the
default endpoint. Only templates that fit the path from its start are looked at, so the cost of a match depends on the
path and not on the number of endpoints.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gateway.limits.endpoint import Endpoint, Template


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    parameter: "_Node | None" = None
    ends: dict[str, Endpoint] = field(default_factory=dict)
    rests: dict[str, Endpoint] = field(default_factory=dict)


_ANY_METHOD = ""

_OPEN_END = sys.maxsize
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
        leaves = node.rests if template.open_ended else node.ends
        rivals = [
            rival
            for method in sorted(endpoint.methods or {_ANY_METHOD})
            if (rival := leaves.setdefault(method, endpoint)) is not endpoint
        ]
        self.clashes.extend((rival, endpoint) for rival in dict.fromkeys(rivals))

    def match(self, method: str, host: str, segments: Sequence[str]) -> Endpoint | None:
        """The endpoint of a request; None for the default one.

        Args:
            method: In upper case.
            host: In lower case, without port.
            segments: Of the canonical path, see `PathPolicy`.
        """
        for root in (self._hosts.get(host), self._hosts.get(None)):
            if root is not None:
                found = _descend(root, method, segments)
                if found is not None:
                    return found
        return None


def _descend(root: _Node, method: str, segments: Sequence[str]) -> Endpoint | None:
    """Search the tree depth first, the best match first."""
    ways, end = [(root, 0)], len(segments)  # the best of them is the last
    while ways:
        node, depth = ways.pop()
        if depth < end:
            if node.rests:
                ways.append((node, _OPEN_END))
            if node.parameter is not None:
                ways.append((node.parameter, depth + 1))
            literal = node.literals.get(segments[depth])
            if literal is not None:
                ways.append((literal, depth + 1))
        else:
            found = _pick(node.ends, method) if depth == end else None
            found = found or _pick(node.rests, method)
            if found is not None:
                return found
    return None


def _pick(leaves: dict[str, Endpoint], method: str) -> Endpoint | None:
    found = leaves.get(method)
    if found is None and method == "HEAD":
        found = leaves.get("GET")
    return found or leaves.get(_ANY_METHOD)
