"""`gateway overrides`: all overrides of a running gateway as one CSV file: apply it, and dump it."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.auth.grant import Scope
from gateway.commands.console import printable_lines
from gateway.commands.control_client import ControlClient, ControlClientError, accepted, add_client_flags
from gateway.commands.override import override_line

_PATH = "/api/v1/admin/overrides.csv"
_STDIN = "-"
_TIMEOUT = 300.0
"""Seconds: a file may have hundreds of thousands of overrides, and the gateway serves requests meanwhile."""
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def add_commands(commands: Any) -> None:
    """Add `overrides` to argparse's subcommands. Its `render` returns what to print, or raises `ControlClientError`."""
    overrides = commands.add_parser(
        "overrides",
        help="apply or dump all overrides of a running gateway as one file",
        description="Apply or dump all overrides of a running gateway as one CSV file.",
    )
    kinds = overrides.add_subparsers(required=True, metavar="apply|dump")

    applying = kinds.add_parser(
        "apply",
        help="replace all overrides by those in a file",
        description="Replace all overrides by those in a CSV file, in one step. What is not in the file is removed.",
    )
    applying.add_argument("file", metavar="FILE", help=f"the file; {_STDIN} for standard input")
    applying.add_argument("--dry-run", action="store_true", help="change nothing, and show what would change")
    applying.add_argument(
        "--if-version", metavar="VERSION", help="refuse if the overrides are not those that a dry run has compared"
    )
    add_client_flags(applying)
    applying.set_defaults(render=_apply)

    dumping = kinds.add_parser(
        "dump", help="print all overrides as a file", description="Print all overrides as a CSV file for `apply`."
    )
    add_client_flags(dumping)
    dumping.set_defaults(render=_dump)


def _apply(options: argparse.Namespace) -> str:
    body = _read(options.file)
    headers = {"Content-Type": "text/csv"}
    if options.if_version is not None:
        headers["If-Match"] = f'"{options.if_version}"'
    client = ControlClient(options, Scope.WRITE_LIMITS)
    response = client.send("PUT", f"{_PATH}?dry_run={str(options.dry_run).lower()}", body, headers, _TIMEOUT)
    try:
        result = accepted(response).document()
    except ControlClientError as error:
        raise _with_places(options.file, error) from None
    return json.dumps(result) if options.json else printable_lines(_lines(result))


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    except OSError as error:
        raise ControlClientError(f"{file} cannot be read: {error.strerror}") from error


def _with_places(file: str, error: ControlClientError) -> ControlClientError:
    """The same error, with the places of what is wrong in the file, if that is what it says."""
    errors = [each for each in error.document.get("errors", ()) if "line" in each]
    if not errors:
        return error
    lines = [f"{file}:{each['line']}:{each['column']}: {each['detail']}" for each in errors]
    return ControlClientError("\n".join([str(error.document.get("detail")), *lines]), error.document)


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    counts = [f"{result[name]['count']} {name}" for name in _SIGNS]
    counts += [f"{result['unchanged']} unchanged"]
    counts += [f"{result['expired']} left out, because they have expired"] * bool(result["expired"])
    number = result["overrides"]
    verb = "would be" if result["dry_run"] else "is" if number == 1 else "are"
    yield f"{number} override{'s' * (number != 1)} {verb} in force: {', '.join(counts)}"
    for name, sign in _SIGNS.items():
        first = result[name]["first"]
        for each in first:
            yield from _change_lines(sign, each)
        if result[name]["count"] > len(first):
            yield f"  {sign} and {result[name]['count'] - len(first)} more"
    if result["dry_run"]:
        yield f"to apply this and nothing else: --if-version {result['version']}"


def _change_lines(sign: str, change: Mapping[str, Any]) -> Iterator[str]:
    if "after" in change:
        before = change["before"]
        yield f"  {sign} {override_line(change['after'])}"
        yield f"      before: {override_line(before) if before else 'one that this version cannot read'}"
    else:
        yield f"  {sign} {override_line(dict(change)) if 'effect' in change else 'one that this version cannot read'}"


def _dump(options: argparse.Namespace) -> str:
    response = accepted(ControlClient(options, Scope.READ_LIMITS).send("GET", _PATH, None, {}, _TIMEOUT))
    return json.dumps({"csv": response.text}) if options.json else response.text.removesuffix("\n")
