"""Reads `endpoints`."""

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from http import HTTPMethod

from gateway.config.address import HOST
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.number import size, whole
from gateway.config.problem import InvalidError
from gateway.config.reader import reads, scalar, string
from gateway.config.scalar import each, name, parsed, text
from gateway.config.section import Section
from gateway.limits.endpoint import DEFAULT, Endpoint, Template
from gateway.settings.url import HostPort, bracketed

_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}", re.ASCII)
_LITERAL = r"[A-Za-z0-9._~!$&'()*+,:=@-]*[A-Za-z0-9_~!$&'()*+,:=@-]"
_HOLE = r"\{[A-Za-z_][A-Za-z0-9_]*\}"
_REST = r"/\{[A-Za-z_][A-Za-z0-9_]*\.\.\.\}"
_NO_PORT = -1
_HIGHEST_COST = 1_000_000


@reads("method", string("^[A-Z][A-Z0-9_-]{0,31}$"))
def _method(node: Node) -> str:
    value = text(node)
    if _METHOD.fullmatch(value) is None:
        raise node.refuse(f"{quote(value)} is not a method; write GET, POST and so on")
    if value != value.upper():
        raise node.refuse("methods are written in capitals", value.upper())
    if value not in HTTPMethod.__members__:
        near = node.nearest(value, HTTPMethod.__members__)
        if near:
            node.warn(f"{value!r} is not a common method; did you mean {near}?")
    return value


@reads("host", scalar(f"^{HOST}$"))
def _host(node: Node) -> str:
    """As a Host header names it: in lower case, an IPv6 address in brackets, without port and final dot."""
    try:
        address = HostPort.parse(text(node), _NO_PORT)
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
        "methods": each(_method, least=1).then(frozenset),
        "path": parsed(Template.parse, "path", string(rf"^(/|(/({_LITERAL}|{_HOLE}))+({_REST})?|{_REST})$")),
        "host": _host,
        "upstream": text,
        "cost": whole(0, _HIGHEST_COST),
        "max_body": size,
    },
    (Endpoint,),
    lambda entries: entries,
    required=("name",),
    meanings={
        "name": "Unique; a metric label, and part of its buckets' keys.",
        "path": "The paths that belong to it: `{id}` is one segment, `{rest...}` at the end is all that follows.",
        "methods": "The methods that belong to it, in capitals; without it, all. GET includes HEAD.",
        "host": "The Host it is served under, without port; without it, any.",
        "upstream": "The upstream that serves it.",
        "cost": "Tokens that a request takes from each bucket; 0 is free.",
        "max_body": "Size of a request body; without it, `intake.max_body` applies.",
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
        self.known[called] = entries.build(Endpoint, template=template)

    def _check(self, called: str, entries: Entries, upstreams: Collection[str] | None) -> None:
        upstream = entries.get("upstream", self.known[called].upstream)
        if upstreams is not None and upstream is not None and upstream not in upstreams:
            near = entries.node.nearest(upstream, upstreams)
            entries.at("upstream").refuse(f"unknown upstream {quote(upstream)}; it is not in gateway.yaml", near)
        if called == DEFAULT:
            for key in ("path", "methods", "host"):
                if key in entries:
                    entries.at(key).refuse(f"'{DEFAULT}' takes all requests that match no other, so it has no {key!r}")
        elif "path" not in entries:
            entries.node.refuse("the key 'path' is missing")

    def note_clashes(self, clashes: Iterable[tuple[Endpoint, Endpoint]]) -> None:
        """Note pairs of endpoints that match the same requests."""
        for first, second in clashes:
            place = self.entries[first.name].at("path").place
            self.entries[second.name].at("path").refuse(
                f"{second.name!r} matches the same requests as {first.name!r} ({place}); "
                "give them different paths, methods or hosts"
            )
