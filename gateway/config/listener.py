"""Reads `listen`."""

from collections.abc import Callable
from dataclasses import replace

from gateway.config.address import host_port
from gateway.config.entries import Entries
from gateway.config.location import check_pair
from gateway.config.node import Node
from gateway.config.number import whole
from gateway.config.reader import Value
from gateway.config.scalar import text
from gateway.config.section import Section, keys_of
from gateway.settings.listener import Listener, Tls


def _tls(entries: Entries) -> Tls:
    check_pair(entries)
    return entries.build(Tls)


TLS = Section("listen.tls", keys_of(Tls), (Tls,), _tls, required=("certificate", "key"))
LISTEN: Section[Callable[[Listener], Listener]] = Section(
    "listen",
    keys_of(Listener, host=text, port=whole(0, 65_535), tls=TLS),
    (Listener,),
    lambda entries: lambda default: replace(default, **entries.values),
    about="Where clients connect: `HOST:PORT`, or these keys. `control.listen` has the same keys.",
)


def listener(default: Listener) -> Value[Listener]:
    """``HOST:PORT``, or a section; what is not given is as in `default`."""

    def read(node: Node) -> Listener:
        if not node.is_scalar:
            return LISTEN(node)(default)
        address = host_port(node)
        return replace(default, host=address.host, port=address.port)

    return Value(read, f"{host_port.words} or section", {"anyOf": [host_port, LISTEN]})
