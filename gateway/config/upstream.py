"""Reads `upstreams`."""

from contextlib import suppress
from dataclasses import replace

from gateway.config.address import origin
from gateway.config.entries import Entries
from gateway.config.location import authorities
from gateway.config.node import Node
from gateway.config.number import seconds
from gateway.config.problem import InvalidError
from gateway.config.reader import reads
from gateway.config.scalar import NAME, each, name
from gateway.config.section import Section, keys_of
from gateway.settings.upstream import Upstream


def _upstream(entries: Entries) -> Upstream:
    upstream = entries.build(Upstream, name="")
    tls = [url for url in upstream.urls if url.scheme == "https"]
    if upstream.ca and not tls:
        entries.at("ca").refuse("certificates are for https, and no URL here starts with https://")
    if tls and not upstream.verify:
        entries.at("verify").warn(
            "without verification, anyone between the gateway and this upstream can read and change everything"
        )
    return upstream


UPSTREAM = Section(
    "upstreams.NAME",
    keys_of(
        Upstream,
        leave_out=("name",),
        urls=each(origin, least=1),
        eject_time=seconds(zero=True),
        ca=authorities,
    ),
    (Upstream,),
    _upstream,
    required=("urls",),
)


@reads(
    "sections by name",
    {
        "type": "object",
        "additionalProperties": UPSTREAM,
        "propertyNames": {"pattern": f"^{NAME}$"},
        "minProperties": 1,
    },
)
def upstreams(node: Node) -> dict[str, Upstream]:
    """Upstreams by name. One that cannot be used is included, so that rules may name it."""
    found = {}
    entries = node.entries()
    if not entries:
        raise node.refuse("there is no upstream; write one called default")
    for key, (key_node, child) in entries.items():
        found[key] = Upstream(key, ())
        with suppress(InvalidError):
            name(key_node)
            found[key] = replace(UPSTREAM(child), name=key)
    return found
