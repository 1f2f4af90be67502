"""Reads `listen` and `control.listen`."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from gateway.config.address import host_port, networks_or_unix
from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.location import authorities, check_pair
from gateway.config.node import Node, quote
from gateway.config.number import whole
from gateway.config.reader import Value, reads, scalar, string
from gateway.config.scalar import parsed, text
from gateway.config.section import Section, keys_of
from gateway.limits.address import Network, Unix
from gateway.settings.listener import Listener, Tls
from gateway.settings.url import parse_socket

_MODE = re.compile("0?[0-7]{3}", re.ASCII)
_ONLY_TCP = ("host", "port", "ipv6_only")

_socket = parsed(lambda path: parse_socket(f"unix:{path}"), "path", string(r"^/.*[^/]$"))
_unix = parsed(parse_socket, "unix:PATH", string(r"^unix:(//)?/.*[^/]$"))


@reads("octal permissions", scalar(r"^0?[0-7]{3}$"), show=lambda mode: f"{mode:04o}")
def _mode(node: Node) -> int:
    """Permissions as chmod takes them."""
    value = text(node)
    if _MODE.fullmatch(value) is None:
        raise node.refuse(f"{quote(value)} is no file mode; write three octal digits, such as 660 or 666")
    return int(value, 8)


@reads(networks_or_unix.words, networks_or_unix.schema, networks_or_unix.show)
def _proxies(node: Node) -> tuple[Network | Unix, ...]:
    networks = networks_or_unix(node)
    for each in networks:
        if not isinstance(each, str) and each.prefixlen == 0:
            node.warn(f"{each} is everybody: any client can then claim to come from any address")
    return networks


def _tls(entries: Entries) -> Tls:
    check_pair(entries)
    if "client_certificate" in entries and "client_ca" not in entries:
        entries.at("client_certificate").refuse("without 'client_ca' no certificate of a client can be verified")
    return entries.build(Tls)


def _listener(entries: Entries) -> Callable[[Listener], Listener]:
    if "unix" in entries:
        for key in _ONLY_TCP:
            if key in entries:
                entries.at(key).refuse(f"{key!r} is for TCP, and 'unix' is given; write one of the two")
    elif "mode" in entries:
        entries.at("mode").refuse("'mode' is for a Unix socket; write unix: /PATH")
    _check_proxies(entries)
    host = entries.values.get("host")
    if "ipv6_only" in entries and host is not None and ":" not in host:
        entries.at("ipv6_only").refuse(f"'ipv6_only' is for an IPv6 address such as ::, and the host is {host}")
    return lambda default: replace(default, **entries.values)


def _check_proxies(entries: Entries) -> None:
    """Note networks of peers that have no address, and the other way round."""
    on_unix = "unix" in entries
    for proxy in entries.values.get("proxy_protocol", ()):
        if on_unix is not isinstance(proxy, str):
            entries.at("proxy_protocol").refuse(
                "peers on a Unix socket have no addresses; write [unix]"
                if on_unix
                else "'unix' stands for peers on Unix sockets, and this listener has an address; write networks"
            )
            return


TLS = Section("listen.tls", keys_of(Tls, client_ca=authorities), (Tls,), _tls, required=("certificate", "key"))
LISTEN: Section[Callable[[Listener], Listener]] = Section(
    "listen",
    keys_of(Listener, host=text, port=whole(0, 65_535), tls=TLS, unix=_socket, mode=_mode, proxy_protocol=_proxies),
    (Listener,),
    _listener,
    about="Where clients connect: `HOST:PORT`, `unix:/PATH`, these keys, or a list of those. `control.listen` has the "
    "same.",
    exclusive=tuple(("unix", key) for key in _ONLY_TCP),
)


def listeners(default: Listener) -> Value[tuple[Listener, ...]]:
    """One listener or a list of them: ``HOST:PORT``, ``unix:/PATH`` or a section; what is not given is as in `default`.

    Only one of two that overlap can be listened on, so the second is refused.
    """
    one = _one(default)

    def read(node: Node) -> tuple[Listener, ...]:
        if not node.is_list:
            return (one(node),)
        found: list[Listener] = []
        items = node.items()
        if not items:
            raise node.refuse("the list is empty")
        for item in items:
            with suppress(InvalidError):
                listener = one(item)
                for other in found:
                    if listener.overlaps(other):
                        item.refuse(f"{listener.address} is taken by {other.address} in this list")
                found.append(listener)
        return tuple(found)

    several = {"type": "array", "items": one, "minItems": 1}
    words, show = f"{one.words}, or list of them", _show
    return Value(read, words, {"anyOf": [one, several]}, show)


def _show(values: tuple[Listener, ...]) -> str:
    return ", ".join(map(str, values))


def _one(default: Listener) -> Value[Listener]:
    def read(node: Node) -> Listener:
        if not node.is_scalar:
            return LISTEN(node)(default)
        if text(node).startswith("unix:"):
            return replace(default, unix=_unix(node))
        address = host_port(node)
        return replace(default, host=address.host, port=address.port)

    return Value(read, f"{host_port.words}, {_unix.words} or section", {"anyOf": [host_port, _unix, LISTEN]})
