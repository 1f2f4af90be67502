"""`gateway purge`: remove what a gateway has stored in Redis, once it is stopped for good."""

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from gateway.commands.config import load_config
from gateway.commands.console import print_error, print_output
from gateway.config.operator_error import OperatorError
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.open import connected
from gateway.redis.purge import count_keys, purge
from gateway.settings.gateway import Settings


class PurgeError(OperatorError):
    """Nothing, or not everything, was removed."""


def add_commands(commands: Any) -> None:
    """Add `purge` to argparse's subcommands. It raises `ConfigError` and `PurgeError`."""
    command = commands.add_parser(
        "purge",
        help="remove what gateways have stored in Redis",
        description="Remove the keys with this configuration's prefix from Redis: buckets, overrides, what the fleet "
        "shares, and heads of audit logs. Stop all gateways with this prefix before. Files are left alone and named.",
    )
    command.add_argument("--config", required=True, metavar="FILE", type=Path, help="gateway.yaml")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.set_defaults(run=_purge)


def _purge(options: argparse.Namespace) -> int:
    settings = load_config(options, print_error).settings
    if settings.store.url is None:
        raise PurgeError("the store is memory, so nothing is in Redis")
    try:
        removed = asyncio.run(_remove(settings, agreed=options.yes))
    except StoreUnavailableError as error:
        raise PurgeError(f"{settings.store}: {error}") from error
    print_output(f"removed from {settings.store}: {_counted(removed)}")
    for name, path in (("state and audit log", settings.control.state), ("analytics", settings.analytics.folder)):
        if path is not None and path.exists():
            print_output(f"not removed: {path} ({name})")
    return 0


async def _remove(settings: Settings, *, agreed: bool) -> Counter[str]:
    prefix = settings.store.prefix
    async with connected(settings.store) as client:
        if client is None:
            return Counter()
        found = await count_keys(client, prefix)
        if found["fleet"]:
            print_error("warning: gateways with this prefix run, or ran within a day; those that run store keys again")
        if found and not agreed and not _agrees(f"remove from {settings.store}, prefix {prefix}: {_counted(found)}?"):
            raise PurgeError("nothing was removed; answer y, or use --yes")
        return await purge(client, prefix)


def _agrees(question: str) -> bool:
    print_error(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _counted(keys: Counter[str]) -> str:
    """Such as `2 keys (bucket 1, fleet 1)`."""
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(keys.items()) if count)
    return f"{keys.total()} key{'s' * (keys.total() != 1)}{f' ({kinds})' if kinds else ''}"
