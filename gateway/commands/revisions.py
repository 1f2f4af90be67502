"""`gateway revisions`, `gateway rollback` and `gateway confirm`: rules that a running gateway has accepted."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from gateway.auth.grant import Scope
from gateway.commands.console import print_output, printable, printable_lines
from gateway.commands.control_client import ControlClient, add_client_flags
from gateway.commands.operate import fleet_lines, print_reload, require_fleet

_PATH = "/api/v1/admin"


def add_commands(commands: Any) -> None:
    """Add them to argparse's subcommands. They raise `ControlClientError`."""
    revisions = commands.add_parser(
        "revisions", help="show the rules that a running gateway has accepted",
        description="Show the rules that a running gateway has accepted, or the files of one revision.",
    )  # fmt: skip
    revisions.add_argument("number", nargs="?", type=_number, help="a revision, to show its files")
    add_client_flags(revisions)
    revisions.set_defaults(render=_revisions)

    rollback = commands.add_parser(
        "rollback", help="have a running gateway put rules from before in force again",
        description="Have a running gateway put a revision in force again, until the next `gateway reload`.",
    )  # fmt: skip
    rollback.add_argument("number", type=_number, help="the revision, as `gateway revisions` shows it")
    rollback.add_argument("--reason", required=True, help="why, for the audit log")
    rollback.add_argument("--fleet", action="store_true", help="then the other gateways on the same Redis, too")
    add_client_flags(rollback)
    rollback.set_defaults(run=_rollback)

    confirm = commands.add_parser(
        "confirm", help="keep what `gateway reload --confirm-within` has put in force",
        description="Keep what `gateway reload --confirm-within` has put in force.",
    )  # fmt: skip
    confirm.add_argument("--fleet", action="store_true", help="then the other gateways on the same Redis, too")
    add_client_flags(confirm)
    confirm.set_defaults(run=_confirm)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a revision, from 1")
    return int(text)


def _revisions(options: argparse.Namespace) -> str:
    client = ControlClient(options, Scope.READ_LIMITS)
    if options.number is not None:
        revision = client.call("GET", f"{_PATH}/revisions/{options.number}")
        return json.dumps(revision) if options.json else "\n".join(_files(revision))
    result = client.call("GET", f"{_PATH}/revisions")
    if options.json:
        return json.dumps(result)
    lines = [_line(each, result["in_force"]) for each in result["revisions"]]
    lines += [f"damaged: {each}" for each in result["damaged"]]
    return printable_lines(lines) or "no revision is kept"


def _line(revision: Mapping[str, Any], in_force: int | None) -> str:
    mark = "*" if revision["number"] == in_force else " "
    changes = [
        f"{kind}: {len(names)} {change}"
        for kind, parts in revision["changed"].items()
        for change, names in parts.items()
        if names and isinstance(names, list)
    ]
    what = f"  {', '.join(changes)}" if changes else ""
    return f"{mark} {revision['number']}  {revision['time']}  {revision['revision']}  {revision['actor']}{what}"


def _files(revision: Mapping[str, Any]) -> list[str]:
    lines = [printable(_line(revision, None).strip())]
    for name, text in revision["files"].items():
        if not name.endswith("/"):
            lines += [f"--- {name}", text.rstrip("\n")]
    return lines


def _rollback(options: argparse.Namespace) -> int:
    flag = "?fleet=true" if options.fleet else ""
    body = {"to": options.number, "reason": options.reason}
    result = ControlClient(options, Scope.RELOAD).call("POST", f"{_PATH}/rollback{flag}", body)
    print_reload(result, options)
    require_fleet(result, "rolled back")
    return 0


def _confirm(options: argparse.Namespace) -> int:
    flag = "?fleet=true" if options.fleet else ""
    result = ControlClient(options, Scope.RELOAD).call("POST", f"{_PATH}/confirm{flag}")
    lines = [f"revision {result['number']}, rules {result['revision']}, stays in force", *fleet_lines(result)]
    print_output(json.dumps(result) if options.json else printable_lines(lines))
    require_fleet(result, "confirmed")
    return 0
