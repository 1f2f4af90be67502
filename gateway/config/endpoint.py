"""Reads `endpoints`."""

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from http import HTTPMethod

from gateway.config.address import HOST
from gateway.config.condition import check_number, example_of, headers, query
from gateway.config.cost import cost
from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.number import size
from gateway.config.other_pattern import nearest_template
from gateway.config.priority import priority
from gateway.config.reader import reads, scalar, string
from gateway.config.scalar import each, name, text
from gateway.config.section import Section
from gateway.limits.endpoint import DEFAULT, METHODS, Endpoint, Template
from gateway.limits.measured_cost import MeasuredCost
from gateway.settings.url import HostPort, bracketed

_ALL = {"*", "ANY", "ALL", "ANYTHING", "EVERY", "_"}
"""How other products write that all methods are meant."""
_ESCAPE = "%(24|28|2[Aa]|2[Bb]|3[Aa])"
_LITERAL = rf"(?![$:(]|\+(/|$))([A-Za-z0-9._~!$&'()+,:=@-]|{_ESCAPE})*([A-Za-z0-9_~!&'()+,:=@-]|{_ESCAPE})"
_PARAMETER = r"\{[A-Za-z_][A-Za-z0-9_]*\}"
_OPEN_END = r"/\{[A-Za-z_][A-Za-z0-9_]*\.\.\.\}"
_HOST_PATTERN = re.compile(r"[*{}<>()^$~\\]|^[.:][^:]|^_$")
_URL = re.compile(r"(?=.*[a-z]/|\w+:/)(\w+://)?(?P<host>[^/:]+)(:\d+)?(/.*)?", re.IGNORECASE)
_NO_PORT = -1


@reads("method", {"enum": sorted(METHODS)})
def _method(node: Node) -> str:
    value = text(node)
    if value in METHODS:
        return value
    if value.upper() in METHODS:
        raise node.refuse("methods are written in capitals", value.upper())
    if value.upper() in _ALL:
        raise node.refuse(f"{quote(value)} is not a method; without the key 'methods', an endpoint takes all of them")
    words = re.findall(r"[A-Z-]+", value.upper())
    if len(words) > 1 and METHODS.issuperset(words):
        raise node.refuse(f"{quote(value)} is not a method; write GET, POST and so on", ", ".join(words))
    if value.upper() in HTTPMethod.__members__:
        raise node.refuse(f"{value.upper()} is never forwarded, so this would never apply; remove it")
    near = node.nearest(value.upper(), METHODS)
    raise node.refuse(f"{quote(value)} is not a method that the gateway takes, so this would never apply", near)


_listed = each(_method, least=1)


@reads(_listed.words, _listed.schema)
def _methods(node: Node) -> frozenset[str]:
    if node.is_scalar:
        value = text(node).upper()
        near = f"[{value}]" if value in METHODS else ""
        all_of_them = "; without the key 'methods', an endpoint takes all of them" if value in _ALL else ""
        raise node.refuse(f"expected a list, found a single value{all_of_them}", near)
    return frozenset(_listed(node))


@reads("path", string(rf"^(/|(/({_LITERAL}|{_PARAMETER}))+({_OPEN_END})?|{_OPEN_END})$"))
def _path(node: Node) -> Template:
    value = text(node)
    try:
        return Template.parse(value)
    except ValueError as error:
        near = nearest_template(value)
        raise node.refuse(str(error), repr(near) if near else "") from None


@reads("host", scalar(f"^{HOST}$"))
def _host(node: Node) -> str:
    """As a Host header names it: in lower case, an IPv6 address in brackets, without port and final dot."""
    value = text(node)
    if _HOST_PATTERN.search(value):
        raise node.refuse(
            "the host is neither an address nor a name; there are no patterns of hosts: name each, or leave 'host' out "
            "for all"
        )
    name = _URL.fullmatch(value)
    if name is not None:
        raise node.refuse("a host has no scheme and no path", repr(name["host"].lower()))
    try:
        address = HostPort.parse(value, _NO_PORT)
    except ValueError as error:
        raise node.refuse(str(error)) from None
    host = bracketed(address.host).lower().rstrip(".")
    if address.port != _NO_PORT:
        raise node.refuse("write the host without a port; ports are not compared", repr(host))
    return host


ENDPOINT = Section(
    "endpoints",
    {
        "name": name,
        "methods": _methods,
        "path": _path,
        "host": _host,
        "headers": headers,
        "query": query,
        "upstream": text,
        "cost": cost,
        "max_body": size,
        "priority": priority,
    },
    (Endpoint,),
    lambda entries: entries,
    required=("name",),
    meanings={
        "name": "Unique; a metric label, and part of its buckets' keys.",
        "path": "The paths that belong to it: `{id}` is one segment, `{rest...}` at the end is all that follows.",
        "methods": "The methods that belong to it, in capitals; without it, all. GET includes HEAD.",
        "host": "The Host it is served under, without port; without it, any.",
        "headers": "Values that headers must have: one, or a list of which one must be there.",
        "query": "Values that keys of the query must have, likewise.",
        "upstream": "The upstream that serves it.",
        "cost": "Tokens that a request takes from each bucket; 0 is free. Or how that is found when it has ended.",
        "max_body": "Size of a request body; without it, `intake.max_body` applies.",
        "priority": "How much its requests matter, see `reserve` of limits; without it, as the caller's tier says.",
    },
)


class Endpoints:
    """The endpoints of all rule files.

    Args:
        nodes: The items of all `endpoints`.
        upstreams: Names of all upstreams; None when they are not known.

    Attributes:
        known: By name, including the default endpoint. One that cannot be used is included without a path, so that
            limits may name it.
        entries: What was read for each.
    """

    __slots__ = ("entries", "known")

    def __init__(self, nodes: Iterable[Node], upstreams: Collection[str] | None) -> None:
        self.known = {DEFAULT: Endpoint(DEFAULT)}
        self.entries: dict[str, Entries] = {}
        for node in nodes:
            with suppress(InvalidError):
                self._add(ENDPOINT(node), upstreams)

    def _add(self, entries: Entries, upstreams: Collection[str] | None) -> None:
        called = entries.values.get("name")
        if called is None:
            raise InvalidError
        if called in self.entries:
            place = self.entries[called].at("name").place
            raise entries.at("name").refuse(f"duplicate endpoint {called!r}; the first is at {place}")
        self.entries[called] = entries
        self.known[called] = Endpoint(called)
        self._check(called, entries, upstreams)
        template = entries.values.pop("path", None)
        if None in (entries.get("headers", ()), entries.get("query", ())):
            template = None  # without the conditions that are wrong, it would match more than it is meant to
        measured = entries.values.get("cost")
        if not isinstance(measured, MeasuredCost):
            self.known[called] = entries.build(Endpoint, template=template)
        else:
            estimate = measured.estimate
            self.known[called] = entries.build(Endpoint, template=template, cost=estimate, measured_cost=measured)

    def _check(self, called: str, entries: Entries, upstreams: Collection[str] | None) -> None:
        upstream = entries.get("upstream", self.known[called].upstream)
        if upstreams is not None and upstream is not None and upstream not in upstreams:
            near = entries.node.nearest(upstream, upstreams)
            entries.at("upstream").refuse(f"unknown upstream {quote(upstream)}; it is not in gateway.yaml", near)
        if called == DEFAULT:
            for key in ("path", "methods", "host", "headers", "query"):
                if key in entries:
                    entries.at(key).refuse(f"'{DEFAULT}' takes all requests that match no other, so it has no {key!r}")
        elif "path" not in entries:
            entries.node.refuse("the key 'path' is missing")
        check_number(entries)

    def note_clashes(self, clashes: Iterable[tuple[Endpoint, Endpoint]]) -> None:
        """Note pairs of endpoints that match the same requests."""
        for first, second in clashes:
            place = self.conditions_of(first).place
            if second.conditions:
                example = example_of(first.conditions + second.conditions)
                what = f"a request with {example} matches both {second.name!r} and {first.name!r} ({place})"
                how = "let both read the same header or query key, with different values, or give them different paths"
            else:
                what = f"{second.name!r} matches the same requests as {first.name!r} ({place})"
                how = "give them different paths, methods or hosts"
            self.conditions_of(second).refuse(f"{what}; {how}")

    def conditions_of(self, endpoint: Endpoint) -> Node:
        """Where the conditions of an endpoint are; its path if it has none."""
        key = "headers" if endpoint.headers else "query" if endpoint.query else "path"
        return self.entries[endpoint.name].at(key)
