"""`gateway override`: set, list and remove the overrides of a running gateway."""

import argparse
import json
from typing import Any
from urllib.parse import quote, urlencode

from gateway.auth.grant import Scope
from gateway.auth.timestamps import format_timestamp, now
from gateway.commands.console import printable, printable_lines
from gateway.commands.control_client import TARGET, ControlClient, add_client_flags, target_path
from gateway.limits.duration import parse_duration

_OVERRIDES = "/api/v1/admin/overrides"
_PAGE = 1000


def add_commands(commands: Any) -> None:
    """Add `override` to argparse's subcommands. Its `render` returns what to print, or raises `ControlClientError`."""
    override = commands.add_parser(
        "override",
        help="set, list and remove overrides in a running gateway",
        description="Set, list and remove overrides in a running gateway.",
    )
    kinds = override.add_subparsers(required=True, metavar="set|list|rm")

    setting = kinds.add_parser("set", help="set an override", description="Set an override, in the place of any other.")
    setting.add_argument("target", help=TARGET)
    effect = setting.add_mutually_exclusive_group(required=True)
    effect.add_argument("--rate", help="another rate, such as 100/minute")
    effect.add_argument("--quota", help="another calendar quota, such as 100000/month")
    effect.add_argument("--at-once", type=int, metavar="NUMBER", help="another number of requests at once")
    effect.add_argument("--tier", help="another tier")
    effect.add_argument("--exempt", action="store_true", help="no limit applies")
    effect.add_argument("--block", action="store_true", help="every request is refused")
    setting.add_argument("--burst", type=int, help="with --rate (default: the number of the rate)")
    setting.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME",
        help="with --rate, --quota or --at-once: only this limit; may be repeated",
    )
    setting.add_argument(
        "--endpoint", action="append", default=[], metavar="NAME", help="only this endpoint; may be repeated"
    )
    setting.add_argument(
        "--for", required=True, dest="lifetime", type=_duration, metavar="TIME", help="such as 60s, 7d"
    )
    setting.add_argument("--reason", required=True, help="why; appears in the audit log")
    add_client_flags(setting)
    setting.set_defaults(render=_set)

    listing = kinds.add_parser("list", help="list the overrides", description="List the overrides in force.")
    add_client_flags(listing)
    listing.set_defaults(render=_list)

    removing = kinds.add_parser("rm", help="remove an override", description="Remove an override.")
    removing.add_argument("target", help=TARGET)
    add_client_flags(removing)
    removing.set_defaults(render=_remove)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is {error}") from None


def _set(options: argparse.Namespace) -> str:
    client = ControlClient(options, Scope.WRITE_LIMITS)
    document = client.call("PUT", f"{_OVERRIDES}/{target_path(options.target)}", _body(options))
    return json.dumps(document) if options.json else printable(override_line(document))


def _body(options: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {"reason": options.reason}
    body["expires_at"] = format_timestamp(now() + int(options.lifetime * 1_000_000))
    if options.rate is not None:
        number = options.rate.partition("/")[0]
        default = int(number) if number.isascii() and number.isdigit() else 1  # the gateway says what is wrong with it
        body |= {"effect": "quota", "rate": options.rate, "burst": default if options.burst is None else options.burst}
    elif options.quota is not None:
        body |= {"effect": "quota", "quota": options.quota}
    elif options.at_once is not None:
        body |= {"effect": "quota", "at_once": options.at_once}
    elif options.tier is not None:
        body |= {"effect": "tier", "tier": options.tier}
    else:
        body["effect"] = "exempt" if options.exempt else "block"
    if options.rate is None and options.burst is not None:
        body["burst"] = options.burst  # refused by the gateway, by name
    if options.limit:
        body["limits"] = options.limit
    if options.endpoint:
        body["endpoints"] = options.endpoint
    return body


def _list(options: argparse.Namespace) -> str:
    client = ControlClient(options, Scope.READ_LIMITS)
    overrides: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        query = {"limit": _PAGE} | ({"after": after} if after else {})
        page = client.call("GET", f"{_OVERRIDES}?{urlencode(query)}")
        overrides += page["overrides"]
        after = page["next"]
    if options.json:
        return json.dumps({"overrides": overrides})
    return printable_lines(map(override_line, overrides)) or "no overrides"


def _remove(options: argparse.Namespace) -> str:
    ControlClient(options, Scope.WRITE_LIMITS).call("DELETE", f"{_OVERRIDES}/{target_path(options.target)}")
    if options.json:
        return json.dumps({"removed": options.target})
    return printable(f"{options.target}: the override is removed")


def override_line(override: dict[str, Any]) -> str:
    """An override, in one line."""
    effect = override["effect"]
    if effect == "quota":
        effect = quota_text(override)
    elif effect == "tier":
        effect = f"tier {override['tier']}"
    where = "".join(f" {name} {', '.join(override[name])}" for name in ("limits", "endpoints") if name in override)
    target = _target(override)
    why = f"{override['reason']} (by {override['set_by']})"
    return f"{target}  {effect}{where}  until {override['expires_at']}  {why}"


def _target(override: dict[str, Any]) -> str:
    """The target as the command line takes it."""
    user: str | None = override.get("user")
    if user is not None:
        return f"user/{user}" if "/" in user else user
    if "address" in override:
        return f"address/{override['address']}"
    return "/".join(f"{name}/{quote(value, safe='')}" for name, value in override["attributes"].items())


def quota_text(document: dict[str, Any]) -> str:
    """The quota of an override, in one line."""
    if "at_once" in document:
        return f"{document['at_once']} at once"
    return str(document["quota"]) if "quota" in document else f"{document['rate']} burst {document['burst']}"
