"""Reads `gateway.yaml`, with the flags of the command line over it."""

from pathlib import Path

import yaml

from gateway.config.analytics import analytics
from gateway.config.fields import Fields, section, table_of
from gateway.config.flags import MOST_WORKERS, Flags
from gateway.config.identity import identity
from gateway.config.listener import control, listener
from gateway.config.node import Node
from gateway.config.problem import InvalidError, Log, Problem
from gateway.config.scalar import choice, each, existing, seconds, share, web_origin, whole
from gateway.config.source import Source
from gateway.config.store import store
from gateway.config.tracing import tracing
from gateway.config.upstream import upstreams
from gateway.limits.address import LOOPBACK, belongs, parse_address
from gateway.limits.path import PathPolicy
from gateway.settings.analytics import Analytics
from gateway.settings.control import Control
from gateway.settings.gateway import Settings
from gateway.settings.identity import IdentityPolicy
from gateway.settings.listener import Listener
from gateway.settings.store import Store

PATHS_KEYS = table_of(PathPolicy, encoded_slash=choice("reject", "pass"))
KEYS = table_of(
    Settings,
    listen=listener(Listener()),
    control=control,
    upstreams=upstreams,
    store=store,
    identity=identity,
    paths=section(PathPolicy, PATHS_KEYS),
    rules=existing,
    workers=whole(1, MOST_WORKERS),
    drain_time=seconds(zero=True),
    access_log=share,
    analytics=analytics,
    cors_origins=each(web_origin),
    tracing=tracing,
)


def gateway_file(file: Path | None, flags: Flags, log: Log) -> Fields:
    """Read the settings, from a file or from none, and check that they go together.

    Returns:
        What `Settings` is built from, once the log holds no problem.
    """
    fields = _read(file, log)
    whole_file = fields is not None
    if fields is None:
        nothing = yaml.MappingNode("tag:yaml.org,2002:map", [])
        fields = Fields(Node(Source(str(file or "gateway.yaml"), Path(), log), nothing), KEYS)
    flags.apply(fields)
    if file is None and "upstreams" not in fields:
        log.problems.append(Problem("--upstream", 0, 0, "", "say where the API is, or name a file with --config"))
    elif whole_file and "upstreams" not in fields:
        fields.node.refuse("the key 'upstreams' is missing: where is the API?")
    if "rules" not in fields:
        name = str(file) if file else "--rules"
        log.warnings.append(Problem(name, 0, 0, "", "no rules are named, so nothing is limited"))
    _check(fields)
    return fields


def _read(file: Path | None, log: Log) -> Fields | None:
    if file is None:
        return None
    source = Source.of(file, log)
    try:
        return Fields(Node(source, source.compose()), KEYS)
    except InvalidError:
        return None


def _check(fields: Fields) -> None:
    values = fields.values
    place = fields.said("store", Store())
    workers = values.get("workers") or 1
    if place and place.url is None and workers > 1:
        fields.at("workers").refuse(
            f"the memory store belongs to one process, so {workers} workers would let {workers} times every limit "
            "through; use Redis, or one worker"
        )
    _check_listeners(fields.said("listen", Listener()), fields.said("control", Control()), fields)
    who = fields.said("identity", IdentityPolicy())
    kept = fields.said("analytics", Analytics())
    if kept and kept.is_on and who and not who.hash_key:
        fields.at("analytics").warn(
            "without hash_key_file or hash_key_env, whoever reads what is kept can find out which user a digest is of"
        )
    if place and place.url and who and not who.hash_key:
        fields.at("identity" if "identity" in fields else "store").warn(
            "without hash_key_file or hash_key_env, whoever reads Redis can find out which user a key belongs to"
        )


def _check_listeners(public: Listener | None, plane: Control | None, fields: Fields) -> None:
    if not public or not plane:
        return
    if plane.listen.port and (public.host, public.port) == (plane.listen.host, plane.listen.port):
        fields.at("control").refuse("the control plane cannot listen where the public port does")
    address = parse_address(plane.listen.host)
    if plane.listen.host != "localhost" and not belongs(address, LOOPBACK):
        fields.at("control").warn(
            f"the control plane listens on {plane.listen.host}, where other machines may reach it; "
            "let through only those that should"
        )
