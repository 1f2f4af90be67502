"""`Flags`: what the command line says over `gateway.yaml`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gateway.config.fields import Fields
from gateway.config.listener import listener
from gateway.config.node import Node
from gateway.config.scalar import existing, parsed, whole
from gateway.config.source import Source
from gateway.config.store import store_url
from gateway.limits.endpoint import DEFAULT
from gateway.settings.control import Control
from gateway.settings.listener import Listener
from gateway.settings.store import Store, StoreTls
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin

MOST_WORKERS = 1024


@dataclass(frozen=True, slots=True)
class Flags:
    """Flags as they were typed, read with the same readers as the file; a field here is a flag there.

    Attributes:
        upstream: URL of the upstream called ``default``; its other settings stay.
        listen: Where the public port is; its TLS stays.
        control: Where the control plane is; its TLS and its keys stay.
        store: ``memory`` or a URL. Replaces all that says where Redis is and as whom to speak to it.
        rules: File or folder of rules, seen from where the command runs.
        workers: Number of processes.
    """

    upstream: str | None = None
    listen: str | None = None
    control: str | None = None
    store: str | None = None
    rules: str | None = None
    workers: str | None = None

    def apply(self, fields: Fields) -> None:
        """Put the flags that were given over what `gateway.yaml` says."""
        log = fields.node.source.log
        readers: dict[str, tuple[str, Callable[[Node], Any]]] = {
            "upstream": ("upstreams", _upstream(fields)),
            "listen": ("listen", listener(fields.values.get("listen", Listener()))),
            "control": ("control", _control(fields)),
            "store": ("store", _store(fields)),
            "rules": ("rules", existing),
            "workers": ("workers", whole(1, MOST_WORKERS)),
        }
        for flag, (key, read) in readers.items():
            given = getattr(self, flag)
            if given is not None:
                source = Source(f"--{flag}", Path(), log)
                fields.put(key, Node(source, yaml.ScalarNode("tag:yaml.org,2002:str", given)), read)


def _upstream(fields: Fields) -> Callable[[Node], dict[str, Upstream]]:
    others: dict[str, Upstream] = fields.values.get("upstreams", {})

    def read(node: Node) -> dict[str, Upstream]:
        origin = parsed(Origin.parse)(node)
        return {**others, DEFAULT: replace(others.get(DEFAULT, Upstream(DEFAULT, ())), urls=(origin,))}

    return read


def _control(fields: Fields) -> Callable[[Node], Control]:
    control: Control = fields.values.get("control", Control())
    return lambda node: replace(control, listen=listener(control.listen)(node))


def _store(fields: Fields) -> Callable[[Node], Store]:
    store: Store = fields.values.get("store", Store())

    def read(node: Node) -> Store:
        url = store_url(node)
        tls = store.tls if url and url.tls else StoreTls()
        return replace(store, url=url, sentinel=None, cluster=False, nodes=(), tls=tls)

    return read
