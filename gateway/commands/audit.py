"""`gateway audit`: verify the audit log, and print it for people."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.commands.console import printable
from gateway.config.loader import load
from gateway.config.operator_error import OperatorError
from gateway.control.audit.chain import verify_chain
from gateway.control.audit.entry import BrokenChainError, Link, read_line
from gateway.control.audit.log_file import AuditLog
from gateway.control.audit.writer import Head
from gateway.redis.errors import StoreUnavailableError
from gateway.redis.open import connected
from gateway.settings.store import Store


class AuditError(OperatorError):
    """The log has been changed, or cannot be read or compared. The message is for operators."""


def add_commands(commands: Any) -> None:
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
        description="Find lines that were changed, added, moved or removed, in rotated files too. Anyone who can write "
        "the file can compute new plain hashes. With control.audit_key_file the log has HMACs, and that is found too.",
    )
    verify.add_argument("file", metavar="FILE", type=Path, help="the log: STATE/audit.jsonl")
    verify.add_argument(
        "--config", metavar="FILE", type=Path,
        help="gateway.yaml; verifies with control.audit_key, and compares with the head stored in Redis, to find lines "
        "removed from the end",
    )  # fmt: skip
    verify.add_argument(
        "--key-file", metavar="FILE", type=Path, action="append", default=[],
        help="a file that holds control.audit_key, or one it had earlier; may be given several times",
    )  # fmt: skip
    verify.add_argument(
        "--from", metavar="N", type=int, dest="first",
        help="number that the first line must have, to find lines removed from the start; 1 unless files were archived",
    )  # fmt: skip
    verify.set_defaults(render=_verify)
    show = kinds.add_parser("show", help="print it for people", description="Print the audit log for people.")
    show.add_argument("file", metavar="FILE", type=Path)
    show.set_defaults(render=_show)


def _verify(options: argparse.Namespace) -> str:
    settings = load(options.config).settings if options.config else None
    keys = [_read_key(file) for file in options.key_file]
    if settings is not None and settings.control.audit_key is not None:
        keys.append(settings.control.audit_key)
    file: Path = options.file
    log = AuditLog(file)
    end = _verify_lines(log, keys)
    first = _link(next(log.lines())).sequence
    if options.first not in {None, first}:
        raise AuditError(f"{file}: the first line is {first}, not {options.first}")
    result = f"{file}: lines {first} to {end.sequence} are intact: none was changed, added, removed or moved"
    if first > 1:
        result += f"; lines 1 to {first - 1} are missing, as when old files have been archived"
    doubt = "" if keys else _doubt(end)
    if settings is None:
        return f"{result}; pass --config to find lines that were removed from the end{doubt}"
    head = asyncio.run(_head(settings.store, end))
    if head is None:
        return f"{result}; no head is stored for this log, so lines removed from the end cannot be found{doubt}"
    _compare_head(log, end, *head)
    return f"{result}; none is missing at the end{doubt}"


def _verify_lines(log: AuditLog, keys: Sequence[bytes]) -> Link:
    try:
        end = verify_chain(log.lines(), keys)
    except BrokenChainError as error:
        raise AuditError(f"{log.file}: {error}") from error
    except OSError as error:
        raise AuditError(f"{log.file}: {error.strerror}") from error
    if end is None:
        raise AuditError(_why_empty(log))
    if keys and not end.is_keyed:
        raise AuditError(
            f"{log.file}: line {end.sequence}, the last one, was written without a key, so all lines may have been "
            "written anew by somebody else"
        )
    return end


def _why_empty(log: AuditLog) -> str:
    return f"{log.file}: the log is empty" if log.files() else f"{log.file}: there is no such file"


def _compare_head(log: AuditLog, end: Link, sequence: int, digest: str) -> None:
    if sequence > end.sequence:
        raise AuditError(
            f"{log.file}: {sequence - end.sequence} lines were removed from the end, according to the head in Redis"
        )
    if digest not in {link.hash for link in map(_link, log.lines()) if link.sequence == sequence}:
        raise AuditError(f"{log.file}: line {sequence} does not have the hash that is stored in Redis")


def _doubt(end: Link) -> str:
    """A line that says what is not known without a key."""
    if end.is_keyed:
        return "\nThe HMACs were not verified; pass --config or --key-file"
    return "\nThe hashes are plain: anyone who can write the file can compute new ones; see control.audit_key_file"


def _read_key(file: Path) -> bytes:
    try:
        key = file.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise AuditError(f"{file}: {error.strerror}") from error
    if not key:
        raise AuditError(f"{file}: the file is empty")
    return key


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
    log = AuditLog(options.file)
    try:
        for line in log.lines():
            try:
                lines.append(_readable(dict(read_line(line)[0])))
            except BrokenChainError as error:
                lines.append(f"     ?  {error}; see: gateway audit verify {options.file}")
    except OSError as error:
        raise AuditError(f"{options.file}: {error.strerror}") from error
    if not lines:
        raise AuditError(_why_empty(log))
    return "\n".join(lines)


def _readable(record: dict[str, Any]) -> str:
    """A line of the audit log for people. What is not printable is escaped, so that it cannot control the terminal."""
    change = ""
    if record["before"] is not None or record["after"] is not None:
        change = f": {_short(record['before'])} -> {_short(record['after'])}"
    source = f" from {record['source']}" if record["source"] else ""
    reason = f" ({record['reason']})" if record["reason"] else ""
    return printable(
        f"{record['sequence']:>6}  {record['time']}  {record['actor']}{source}  "
        f"{record['action']} {record['target']}{change}{reason}"
    )


def _short(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)
