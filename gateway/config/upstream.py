"""Reads `upstreams`: the servers behind us."""

from contextlib import suppress

from gateway.config.certificate import authorities
from gateway.config.fields import Fields, table_of
from gateway.config.node import Node
from gateway.config.problem import InvalidError
from gateway.config.scalar import each, name, parsed, seconds
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin

KEYS = table_of(
    Upstream,
    leave_out=("name",),
    urls=each(parsed(Origin.parse), least=1),
    eject_time=seconds(zero=True),
    ca=authorities,
)


def upstreams(node: Node) -> dict[str, Upstream]:
    """A mapping of names to upstreams. One that cannot be used is in it all the same, so that its name is known."""
    found = {}
    entries = node.entries()
    if not entries:
        raise node.refuse("there is no upstream; write one called default")
    for key, (key_node, child) in entries.items():
        found[key] = Upstream(key, ())
        with suppress(InvalidError):
            name(key_node)
            found[key] = _upstream(key, child)
    return found


def _upstream(key: str, node: Node) -> Upstream:
    fields = Fields(node, KEYS, required=("urls",))
    upstream = fields.build(Upstream, name=key)
    tls = [origin for origin in upstream.urls if origin.scheme == "https"]
    if upstream.ca and not tls:
        fields.at("ca").refuse("certificates are for https, and no URL here starts with https://")
    if tls and not upstream.verify:
        fields.at("verify").warn("whoever stands between us and this upstream can read and change everything")
    return upstream
