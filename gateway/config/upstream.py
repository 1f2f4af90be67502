"""Reads `upstreams`."""

from contextlib import suppress
from dataclasses import replace

from gateway.config.address import HOST, origin
from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.location import authorities, check_pair
from gateway.config.node import Node
from gateway.config.number import seconds, whole
from gateway.config.reader import reads, string
from gateway.config.scalar import NAME, each, matching, name, parsed
from gateway.config.section import Section, keys_of
from gateway.settings.upstream import HealthCheck, Upstream, UpstreamTls
from gateway.settings.url import parse_host


def _upstream(entries: Entries) -> Upstream:
    upstream = entries.build(Upstream, name="")
    tls = [url for url in upstream.urls if url.scheme == "https"]
    for key in ("ca", "tls"):
        if key in entries and "urls" in entries.values and not tls:
            entries.at(key).refuse("certificates are for https, and no URL here starts with https://")
    if upstream.ca and upstream.tls.ca:
        entries.at("ca").refuse("'ca' is in 'tls' as well; write one of the two")
    if tls and not upstream.verify:
        entries.at("verify").warn(
            "without verification, anyone between the gateway and this upstream can read and change everything"
        )
    return upstream


def _tls(entries: Entries) -> UpstreamTls:
    if ("certificate" in entries) != ("key" in entries):
        raise entries.node.refuse("'certificate' and 'key' need each other; write both")
    check_pair(entries)
    return entries.build(UpstreamTls)


_server_name = parsed(parse_host, "name or address", string(f"^{HOST}$"))
TLS = Section(
    "upstreams.NAME.tls", keys_of(UpstreamTls, ca=authorities, server_name=_server_name), (UpstreamTls,), _tls
)
_health_path = matching(
    r"/[!-~]{0,1023}",
    "path",
    "is not a path; write /healthz, with %XX for what is not printable ASCII",
    any_scalar=False,
)
HEALTH = Section(
    "upstreams.NAME.health",
    keys_of(HealthCheck, path=_health_path, failures=whole(1, 100)),
    (HealthCheck,),
    lambda entries: entries.build(HealthCheck),
    required=("path",),
)
UPSTREAM = Section(
    "upstreams.NAME",
    keys_of(
        Upstream,
        leave_out=("name",),
        urls=each(origin, least=1),
        eject_time=seconds(zero=True),
        ca=authorities,
        tls=TLS,
        health=HEALTH,
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
