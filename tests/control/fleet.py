"""Gateways as processes of their own, with workers, that an operator has set up with files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.auth.keys import AUDIENCE, ISSUER, pair
from tests.control.running import Running
from tests.kit.process import Process, gateway

RULES = """\
endpoints:
  - {name: order, methods: [GET], path: "/v1/orders/{id}"}
limits:
  - {name: each, per: user, rate: 1/day, burst: 10}
"""


SOURCES = "{trusted_header: {header: X-User-Id, tier_header: X-User-Tier}}"


@dataclass
class Gateway(Running):
    """A gateway's ports, and what it is made of."""

    folder: Path
    process: Process

    @property
    def audit(self) -> Path:
        return self.folder / "state" / "audit.jsonl"

    def write_rules(self, text: str) -> None:
        (self.folder / "rules.yaml").write_text(text)


@asynccontextmanager
async def fleet_member(
    folder: Path,
    upstream: int,
    store: str = "memory",
    *,
    workers: int = 1,
    rules: str | None = RULES,
    more: str = "",
    cluster: bool = False,
    sources: str = SOURCES,
) -> AsyncIterator[Gateway]:
    """Run `gateway serve` while the block runs. Rules that are there stay, with None."""
    where = f"{{url: '{store}', deadline: 5s{', cluster: true' * cluster}}}"
    _set_up(folder, upstream, where, workers, rules, sources, more)
    async with gateway("--config", folder / "gateway.yaml") as (process, public, control):
        yield Gateway(public, control, folder, process)


def _set_up(folder: Path, upstream: int, store: str, workers: int, rules: str | None, sources: str, more: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret").write_bytes(pair().verifying)
    (folder / "hash").write_text("0123456789abcdef")
    if rules is not None:
        (folder / "rules.yaml").write_text(rules)
    (folder / "gateway.yaml").write_text(
        f"upstreams: {{default: {{urls: [http://127.0.0.1:{upstream}]}}}}\n"
        f"store: {store}\nworkers: {workers}\nrules: rules.yaml\ndrain_time: 2s\n"
        f"identity:\n  sources: [{sources}]\n"
        "  trusted_proxies: [127.0.0.1]\n  hash_key_file: hash\n"
        f"control:\n  state: state\n  admin: {{audience: {AUDIENCE}, issuer: '{ISSUER}', keys: "
        f"[{{algorithm: HS256, secret_file: secret}}]}}\n{more}"
    )
