"""`gateway audit`: is the log what was written, and what does it say."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.config.loader import load
from gateway.control.audit.chain import BrokenChainError, Link, read_line, verify_chain
from gateway.control.audit.log import AuditLog
from gateway.control.audit.writer import Head
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.open import connected
from gateway.settings.store import Store


class AuditError(Exception):
    """The log is not what was written, or cannot be compared."""


def add_audit_commands(commands: Any) -> None:
    """Add `audit` to argparse's subcommands. Its `render` returns what to print.

    `render` raises `AuditError`, and `ConfigError` for settings that cannot be used.
    """
    audit = commands.add_parser("audit", help="verify and read the audit log", description="Verify and read it.")
    kinds = audit.add_subparsers(required=True, metavar="verify|show")
    verify = kinds.add_parser(
        "verify",
        help="find a line that was changed, added, moved or taken away",
        description="Find a line that was changed, added, moved or taken away, also in files put away by rotation.",
    )
    verify.add_argument("file", metavar="FILE", type=Path, help="the log: STATE/audit.jsonl")
    verify.add_argument(
        "--config", metavar="FILE", type=Path,
        help="gateway.yaml: also compare with the head kept in Redis, to find a tail that was cut off",
    )  # fmt: skip
    verify.add_argument(
        "--from", metavar="N", type=int, dest="first",
        help="the number that the first line must have, to find a head that was cut off; 1 unless files were archived",
    )  # fmt: skip
    verify.set_defaults(render=lambda options: _verify(options.file, options.config, options.first))
    show = kinds.add_parser("show", help="print it for people", description="Print it for people.")
    show.add_argument("file", metavar="FILE", type=Path)
    show.set_defaults(render=_show)


def _verify(file: Path, config: Path | None, wanted: int | None) -> str:
    ledger = AuditLog(file)
    try:
        end = verify_chain(ledger.lines())
    except (BrokenChainError, OSError) as error:
        raise AuditError(f"{file}: {error}") from error
    if end is None:
        raise AuditError(f"{file}: there are no lines")
    first = _link(next(ledger.lines())).sequence
    if wanted not in {None, first}:
        raise AuditError(f"{file}: the first line is {first}, and not {wanted}")
    whole = f"{file}: lines {first} to {end.sequence}, none changed, added, missing or moved"
    if first > 1:
        whole += f"; lines 1 to {first - 1} are not here, as when old files are put away"
    if config is None:
        return f"{whole}; lines cut off at the end would only be missed with --config"
    head = asyncio.run(_head(load(config).settings.store, end))
    if head is None:
        return f"{whole}; no head is kept for it, so lines cut off at the end would not be missed"
    sequence, digest = head
    if sequence > end.sequence:
        raise AuditError(f"{file}: {sequence - end.sequence} lines are cut off at the end, says the head in Redis")
    if digest not in {link.hash for link in map(_link, ledger.lines()) if link.sequence == sequence}:
        raise AuditError(f"{file}: line {sequence} is not the one whose hash is kept in Redis")
    return f"{whole}, and none cut off at the end"


def _link(line: bytes) -> Link:
    return read_line(line)[1]


async def _head(store: Store, end: Link) -> tuple[int, str] | None:
    async with connected(store) as redis:
        if redis is None:
            return None
        try:
            return await Head(redis, store.prefix).get(end.log)
        except StoreUnavailableError as error:
            raise AuditError(f"the head in Redis cannot be read: {error}") from error


def _show(options: argparse.Namespace) -> str:
    lines = []
    try:
        for line in AuditLog(options.file).lines():
            try:
                lines.append(_told(dict(read_line(line)[0])))
            except BrokenChainError as error:
                lines.append(f"     ?  {error}; see: gateway audit verify {options.file}")
    except OSError as error:
        raise AuditError(f"{options.file}: {error.strerror}") from error
    if not lines:
        raise AuditError(f"{options.file}: there are no lines")
    return "\n".join(lines)


def _told(record: dict[str, Any]) -> str:
    """A line of the audit log for people. Whatever is in it stays in the line, and says nothing to the terminal."""
    change = ""
    if record["before"] is not None or record["after"] is not None:
        change = f": {_short(record['before'])} -> {_short(record['after'])}"
    source = f" from {record['source']}" if record["source"] else ""
    reason = f" ({record['reason']})" if record["reason"] else ""
    line = (
        f"{record['sequence']:>6}  {record['time']}  {record['actor']}{source}  "
        f"{record['action']} {record['target']}{change}{reason}"
    )
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _short(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)
