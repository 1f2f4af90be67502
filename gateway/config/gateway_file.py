"""Reads `gateway.yaml`, with the command line's flags in place of what it has."""

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from gateway.config.address import web_origin
from gateway.config.analytics import ANALYTICS
from gateway.config.answers import ANSWERS
from gateway.config.control import CONTROL
from gateway.config.diagnostic import Diagnostic, Findings, InvalidError
from gateway.config.dns import DNS
from gateway.config.door import DOORS
from gateway.config.entries import Entries
from gateway.config.flags import MAX_WORKERS, Flags
from gateway.config.identity import IDENTITY
from gateway.config.listener import listeners
from gateway.config.location import existing
from gateway.config.node import Node
from gateway.config.number import seconds, share, whole
from gateway.config.reader import reads
from gateway.config.scalar import choice, each, matching
from gateway.config.section import Section, keys_of
from gateway.config.source import Source
from gateway.config.store import STORE
from gateway.config.tracing import TRACING
from gateway.config.upstream import upstreams
from gateway.limits.address import LOOPBACK, Network, Unix, belongs, parse_address
from gateway.limits.identity_source import ClientCertificate
from gateway.limits.path import PathPolicy
from gateway.settings.analytics import Analytics
from gateway.settings.control import Control
from gateway.settings.door import Doors
from gateway.settings.gateway import Settings
from gateway.settings.identity import IdentityPolicy
from gateway.settings.intake import Intake
from gateway.settings.listener import Listener
from gateway.settings.log import LogPolicy
from gateway.settings.store import Store

_VIA_NAME = "[A-Za-z0-9._-]{1,64}"
PATHS = Section(
    "paths",
    keys_of(PathPolicy, encoded_slash=choice("reject", "pass")),
    (PathPolicy,),
    lambda entries: entries.build(PathPolicy),
)
LOG = Section("log", keys_of(LogPolicy), (LogPolicy,), lambda entries: entries.build(LogPolicy))


_duration = seconds()
_SHORTEST_WATCH = 0.1


@reads(_duration.words, _duration.schema, _duration.show)
def _watch(node: Node) -> float:
    interval = _duration(node)
    if interval < _SHORTEST_WATCH:
        raise node.refuse("files are looked at ten times a second at most; write 100ms or more, such as 5s")
    return interval


def _intake(entries: Entries) -> Intake:
    intake = entries.build(Intake)
    for key, value in {"max_line": intake.max_line, "max_header": intake.max_header}.items():
        if key in entries and value > intake.max_head:
            entries.at(key).refuse(f"max_head is {intake.max_head}, which bounds the whole head; raise it as well")
    return intake


INTAKE = Section("intake", keys_of(Intake), (Intake,), _intake)
GATEWAY = Section(
    "",
    keys_of(
        Settings,
        listen=listeners(Listener()),
        control=CONTROL,
        doors=DOORS,
        upstreams=upstreams,
        dns=DNS,
        intake=INTAKE,
        answers=ANSWERS,
        store=STORE,
        identity=IDENTITY,
        paths=PATHS,
        rules=existing,
        rule_tests=existing,
        watch=_watch,
        workers=whole(1, MAX_WORKERS),
        drain_delay=seconds(zero=True),
        drain_time=seconds(zero=True),
        log=LOG,
        access_log=share,
        analytics=ANALYTICS,
        cors_origins=each(web_origin),
        tracing=TRACING,
        via=matching(
            _VIA_NAME,
            "name, `auto` or `off`",
            "is not a name for Via; write at most 64 of A-Z, a-z, 0-9, '.', '_' and '-', or auto, or off",
        ),
    ),
    (Settings,),
    lambda entries: entries.build(Settings),
    required=("upstreams",),
)


def gateway_file(file: Path | None, flags: Flags, findings: Findings) -> Entries:
    """Read the settings, from a file or from none, and check that they go together.

    Returns:
        What `GATEWAY` builds the settings from, if no problem was found.
    """
    from_file = _read(file, findings)
    entries = from_file or Entries(_nothing(file, findings), GATEWAY.keys)
    flags.apply(entries)
    if file is None and "upstreams" not in entries:
        findings.problems.append(
            Diagnostic("--upstream", 0, 0, "", "say where the API is, or name a file with --config")
        )
    elif from_file and "upstreams" not in entries:
        entries.node.refuse("the key 'upstreams' is missing: where is the API?")
    if "rules" not in entries:
        name = str(file) if file else "--rules"
        findings.warnings.append(Diagnostic(name, 0, 0, "", "no rules are named, so nothing is limited"))
    _check(entries)
    return entries


def _read(file: Path | None, findings: Findings) -> Entries | None:
    if file is None:
        return None
    source = Source.of(file, findings, os.environ)
    try:
        return Entries(Node(source, source.compose()), GATEWAY.keys)
    except InvalidError:
        return None


def _nothing(file: Path | None, findings: Findings) -> Node:
    return Node(Source(str(file or "gateway.yaml"), Path(), findings), yaml.MappingNode("tag:yaml.org,2002:map", []))


def _check(entries: Entries) -> None:
    """Note what contradicts itself, and warn of what is not safe."""
    store = entries.get("store", Store())
    workers = entries.values.get("workers") or 1
    if store and store.url is None and workers > 1:
        entries.at("workers").refuse(
            f"each process has its own memory store, so {workers} workers would let {workers} times every limit "
            "through; use Redis, or one worker"
        )
    public = entries.get("listen", (Listener(),)) or ()
    _check_control(public, entries.get("control", Control()), entries)
    _check_doors(public, entries)
    identity = entries.get("identity", IdentityPolicy())
    if identity:
        _check_connections(public, identity, entries)
    analytics = entries.get("analytics", Analytics())
    if not identity or identity.hash_key:
        return
    if analytics and analytics.is_on:
        entries.at("analytics").warn(
            "without identity.hash_key_file or identity.hash_key_env, anyone who reads the counts can find out which "
            "user a digest is of"
        )
    if store and store.url:
        entries.at("identity" if "identity" in entries else "store").warn(
            "without identity.hash_key_file or identity.hash_key_env, anyone who reads Redis can find out which user "
            "a key belongs to"
        )


def _check_connections(public: Sequence[Listener], identity: IdentityPolicy, entries: Entries) -> None:
    """Note when nobody can have a client certificate, and warn of trust in what anybody sends."""
    certified = any(isinstance(each, ClientCertificate) for each in identity.sources)
    if certified and public and not any(each.tls and each.tls.client_ca for each in public):
        entries.at("identity").refuse("no listener asks for client certificates: set tls.client_ca in 'listen'")
    for listener in public:
        for relay in listener.proxy_protocol:
            if any(_share(relay, each) for each in identity.trusted_proxies):
                entries.at("identity").warn(
                    f"{relay} is in trusted_proxies, and in proxy_protocol of {listener.address}: where the load "
                    "balancer there names no client, what the client sends is believed; leave it out of trusted_proxies"
                )


def _share(one: Network | Unix, other: Network | Unix) -> bool:
    """Whether a peer can be in both."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return one.version == other.version and one.overlaps(other)


def _check_doors(public: Sequence[Listener], entries: Entries) -> None:
    control, doors = entries.get("control", Control()), entries.get("doors", Doors())
    taken = [("the public port", public), ("the control plane", control.listen if control else ())]
    for name, door in doors.by_name.items() if doors else ():
        for other, theirs in taken:
            if any(_clash(one, each) for one in door.listen for each in theirs):
                entries.at("doors").refuse(f"{name} cannot listen where {other} does")
        taken.append((name, door.listen))
        if any(listener.proxy_protocol for listener in door.listen):
            entries.at("doors").refuse(f"{name} does not read the PROXY protocol: leave out proxy_protocol")
        if any(listener.tls and listener.tls.client_ca for listener in door.listen):
            entries.at("doors").refuse(f"{name} knows proxies by their networks: leave out tls.client_ca")


def _clash(one: Listener, other: Listener) -> bool:
    return one.overlaps(other) and bool(one.unix or one.port)


def _check_control(public: Sequence[Listener], control: Control | None, entries: Entries) -> None:
    for listener in control.listen if control else ():
        if any(_clash(listener, each) for each in public):
            entries.at("control").refuse("the control plane cannot listen where the public port does")
        if listener.tls and listener.tls.client_ca:
            entries.at("control").refuse("the control plane knows operators by their tokens: leave out tls.client_ca")
        if listener.proxy_protocol:
            entries.at("control").refuse("the control plane does not read the PROXY protocol: leave out proxy_protocol")
        host = listener.host
        if not listener.unix and host != "localhost" and not belongs(parse_address(host), LOOPBACK):
            entries.at("control").warn(
                f"the control plane listens on {host}, where other machines may reach it; allow only those that should"
            )
