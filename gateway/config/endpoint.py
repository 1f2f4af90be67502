"""Reads `endpoints`."""

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from http import HTTPMethod

from gateway.config.fields import Fields
from gateway.config.node import Node, quote
from gateway.config.problem import InvalidError
from gateway.config.scalar import Reader, each, name, parsed, size, text, whole
from gateway.limits.endpoint import DEFAULT, Endpoint, Template
from gateway.settings.url import HostPort, bracketed

_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}", re.ASCII)
_NO_PORT = -1
_HIGHEST_COST = 1_000_000


def _method(node: Node) -> str:
    value = text(node)
    if _METHOD.fullmatch(value) is None:
        raise node.refuse(f"{quote(value)} is not a method; write GET, POST and so on")
    if value != value.upper():
        raise node.refuse("a method is written in capitals", value.upper())
    if value not in HTTPMethod.__members__:
        near = node.nearest(value, HTTPMethod.__members__)
        if near:
            node.warn(f"{value!r} is no common method; is {near} meant?")
    return value


def _host(node: Node) -> str:
    """As a Host field names it: in lower case, an IPv6 address in brackets, without port and closing dot."""
    try:
        address = HostPort.parse(text(node), _NO_PORT)
    except ValueError as error:
        raise node.refuse(str(error)) from None
    host = bracketed(address.host).lower().rstrip(".")
    if address.port != _NO_PORT:
        raise node.refuse("a host stands here without its port, for the port is not looked at", repr(host))
    return host


KEYS: dict[str, Reader] = {
    "name": name,
    "methods": lambda node: frozenset(each(_method, least=1)(node)),
    "path": parsed(Template.parse),
    "host": _host,
    "upstream": text,
    "cost": whole(0, _HIGHEST_COST),
    "max_body": size,
}


class Endpoints:
    """The endpoints of all rule files.

    Args:
        nodes: The items of all `endpoints`.
        upstreams: Names of the upstreams there are; None when that is not known.

    Attributes:
        known: By name, the default endpoint included. One that cannot be used is in it all the same, without a path, so
            that a limit can name it.
        fields: Where each was read.
    """

    __slots__ = ("fields", "known")

    def __init__(self, nodes: Iterable[Node], upstreams: Collection[str] | None) -> None:
        self.known = {DEFAULT: Endpoint(DEFAULT)}
        self.fields: dict[str, Fields] = {}
        for node in nodes:
            with suppress(InvalidError):
                self._add(node, upstreams)

    def _add(self, node: Node, upstreams: Collection[str] | None) -> None:
        fields = Fields(node, KEYS, required=("name",))
        called = fields.values.get("name")
        if called is None:
            raise InvalidError
        if called in self.fields:
            place = self.fields[called].at("name").place
            raise fields.at("name").refuse(f"two endpoints are called {called!r}; the other is at {place}")
        self.fields[called] = fields
        self.known[called] = Endpoint(called)
        self._check(called, fields, upstreams)
        template = fields.values.pop("path", None)
        self.known[called] = fields.build(Endpoint, template=template)

    def _check(self, called: str, fields: Fields, upstreams: Collection[str] | None) -> None:
        upstream = fields.said("upstream", self.known[called].upstream)
        if upstreams is not None and upstream is not None and upstream not in upstreams:
            near = fields.node.nearest(upstream, upstreams)
            fields.at("upstream").refuse(f"there is no upstream {quote(upstream)} in gateway.yaml", near)
        if called == DEFAULT:
            for key in ("path", "methods", "host"):
                if key in fields:
                    fields.at(key).refuse(f"'{DEFAULT}' is what matches no other endpoint, so it has no {key!r}")
        elif "path" not in fields:
            fields.node.refuse("the key 'path' is missing")

    def note_clashes(self, clashes: Iterable[tuple[Endpoint, Endpoint]]) -> None:
        """Note pairs of endpoints that take the same requests."""
        for first, second in clashes:
            place = self.fields[first.name].at("path").place
            self.fields[second.name].at("path").refuse(
                f"{second.name!r} takes requests that {first.name!r} ({place}) takes as well; "
                "give them different paths, methods or hosts"
            )
