"""`gateway audit`: verify the audit log, and print it for people."""

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
    """The log has been changed, or cannot be read or compared. The message is for operators."""


def add_audit_commands(commands: Any) -> None:
    """Add `audit` to argparse's subcommands. Its `render` returns what to print.

    `render` raises `AuditError`, and `ConfigError` for invalid settings.
    """
    audit = commands.add_parser(
        "audit", help="verify and print the audit log", description="Verify and print the audit log."
    )
    kinds = audit.add_subparsers(required=True, metavar="verify|show")
    verify = kinds.add_parser(
        "verify",
        help="find lines that were changed, added, moved or removed",
        description="Find lines that were changed, added, moved or removed, in rotated files too.",
    )
    verify.add_argument("file", metavar="FILE", type=Path, help="the log: STATE/audit.jsonl")
    verify.add_argument(
        "--config", metavar="FILE", type=Path,
        help="gateway.yaml; also compares with the head stored in Redis, to find lines removed from the end",
    )  # fmt: skip
    verify.add_argument(
        "--from", metavar="N", type=int, dest="first",
        help="number that the first line must have, to find lines removed from the start; 1 unless files were archived",
    )  # fmt: skip
    verify.set_defaults(render=lambda options: _verify(options.file, options.config, options.first))
    show = kinds.add_parser("show", help="print it for people", description="Print the audit log for people.")
    show.add_argument("file", metavar="FILE", type=Path)
    show.set_defaults(render=_show)


def _verify(file: Path, config: Path | None, expected_first: int | None) -> str:
    log = AuditLog(file)
    try:
        end = verify_chain(log.lines())
    except (BrokenChainError, OSError) as error:
        raise AuditError(f"{file}: {error}") from error
    if end is None:
        raise AuditError(f"{file}: the log is empty")
    first = _link(next(log.lines())).sequence
    if expected_first not in {None, first}:
        raise AuditError(f"{file}: the first line is {first}, not {expected_first}")
    result = f"{file}: lines {first} to {end.sequence} are intact: none was changed, added, removed or moved"
    if first > 1:
        result += f"; lines 1 to {first - 1} are missing, as when old files have been archived"
    if config is None:
        return f"{result}; pass --config to find lines that were removed from the end"
    head = asyncio.run(_head(load(config).settings.store, end))
    if head is None:
        return f"{result}; no head is stored for this log, so lines removed from the end cannot be found"
    sequence, digest = head
    if sequence > end.sequence:
        raise AuditError(
            f"{file}: {sequence - end.sequence} lines were removed from the end, according to the head in Redis"
        )
    if digest not in {link.hash for link in map(_link, log.lines()) if link.sequence == sequence}:
        raise AuditError(f"{file}: line {sequence} does not have the hash that is stored in Redis")
    return f"{result}; none is missing at the end"


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
                lines.append(_readable(dict(read_line(line)[0])))
            except BrokenChainError as error:
                lines.append(f"     ?  {error}; see: gateway audit verify {options.file}")
    except OSError as error:
        raise AuditError(f"{options.file}: {error.strerror}") from error
    if not lines:
        raise AuditError(f"{options.file}: the log is empty")
    return "\n".join(lines)


def _readable(record: dict[str, Any]) -> str:
    """A line of the audit log for people. What is not printable is escaped, so that it cannot control the terminal."""
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
