"""`Flags`: command-line flags that override `gateway.yaml`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gateway.config.address import origin
from gateway.config.entries import Entries
from gateway.config.listener import listeners
from gateway.config.location import existing
from gateway.config.node import Node
from gateway.config.number import whole
from gateway.config.source import Source
from gateway.config.store import store_url
from gateway.limits.endpoint import DEFAULT
from gateway.settings.control import Control
from gateway.settings.listener import Listener
from gateway.settings.store import Store, StoreTls
from gateway.settings.upstream import Upstream

MAX_WORKERS = 1024


@dataclass(frozen=True, slots=True)
class Flags:
    """Flags as they were typed; the same readers read them as the file.

    Attributes:
        upstream: URL of the upstream called ``default``; its other settings stay.
        listen: Addresses of the public port; its TLS settings and `proxy_protocol` stay.
        control: Addresses of the control plane; its TLS settings and keys stay.
        store: ``memory`` or a URL. Replaces everything about where Redis is and how to log in.
        rules: File or folder of rules, relative to the working directory.
        workers: Number of worker processes.
    """

    upstream: str | None = None
    listen: Sequence[str] | None = None
    control: Sequence[str] | None = None
    store: str | None = None
    rules: str | None = None
    workers: str | None = None

    def apply(self, entries: Entries) -> None:
        """Put the flags that were given in place of what `gateway.yaml` has."""
        findings = entries.node.source.findings
        readers: dict[str, tuple[str, Callable[[Node], Any]]] = {
            "upstream": ("upstreams", _upstream(entries)),
            "listen": ("listen", _listen(entries.values.get("listen", ()), Listener())),
            "control": ("control", _control(entries)),
            "store": ("store", _store(entries)),
            "rules": ("rules", existing),
            "workers": ("workers", whole(1, MAX_WORKERS)),
        }
        for flag, (key, read) in readers.items():
            given = getattr(self, flag)
            if given is not None:
                entries.put(key, Node(Source(f"--{flag}", Path(), findings), _as_yaml(given)), read)


def _as_yaml(given: str | Sequence[str]) -> yaml.Node:
    if isinstance(given, str):
        return yaml.ScalarNode("tag:yaml.org,2002:str", given)
    if len(given) == 1:
        return _as_yaml(given[0])
    return yaml.SequenceNode("tag:yaml.org,2002:seq", [_as_yaml(each) for each in given])


def _listen(before: Sequence[Listener], default: Listener) -> Callable[[Node], tuple[Listener, ...]]:
    """Reads addresses that replace those of the file; what comes there before HTTP stays."""
    kept = {replace(default, tls=each.tls, proxy_protocol=each.proxy_protocol) for each in before} or {default}

    def read(node: Node) -> tuple[Listener, ...]:
        if len(kept) > 1:
            raise node.refuse(
                "the listeners in the file differ in their TLS settings or proxy_protocol; change the addresses there"
            )
        return listeners(next(iter(kept)))(node)

    return read


def _upstream(entries: Entries) -> Callable[[Node], dict[str, Upstream]]:
    others: dict[str, Upstream] = entries.values.get("upstreams", {})

    def read(node: Node) -> dict[str, Upstream]:
        return {**others, DEFAULT: replace(others.get(DEFAULT, Upstream(DEFAULT, ())), urls=(origin(node),))}

    return read


def _control(entries: Entries) -> Callable[[Node], Control]:
    control: Control = entries.values.get("control", Control())
    read = _listen(control.listen, Control().listen[0])
    return lambda node: replace(control, listen=read(node))


def _store(entries: Entries) -> Callable[[Node], Store]:
    store: Store = entries.values.get("store", Store())

    def read(node: Node) -> Store:
        url = store_url(node)
        tls = store.tls if url and url.tls else StoreTls()
        return replace(store, url=url, sentinel=None, cluster=False, nodes=(), tls=tls)

    return read
