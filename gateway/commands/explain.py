"""`gateway explain`: which endpoint a request belongs to, whom it is charged to, and which buckets have to pay."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.commands.caller import parse_address
from gateway.commands.console import print_error
from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load
from gateway.config.summary import table
from gateway.limits.explanation import Question, as_document
from gateway.proxy.dry_run import DryRun
from gateway.settings.identity import IdentityPolicy, Jwt

_CONFIG = Path("config/gateway.yaml")
_NOWHERE = "http://127.0.0.1:9"
"""An upstream for rules without settings; nothing is sent."""


class ExplainError(Exception):
    """The command line does not describe a request. The message is for operators."""


def add_explain_command(commands: Any) -> None:
    """Add `explain` to argparse's subcommands.

    Its `render` returns what to print, or raises `ExplainError` or `ConfigError`.
    """
    explain = commands.add_parser(
        "explain",
        help="say which rules apply to a request, and why",
        description="Say which endpoint a request belongs to and why, whom it is charged to and why, and which buckets "
        "have to pay. It goes through the code that serves requests, and asks no gateway and no Redis.",
    )
    explain.add_argument("request", metavar="REQUEST", help="a method and a path or URL, as in 'GET /v1/orders/7'")
    explain.add_argument("--user", metavar="ID", help="as this user, whatever the headers say")
    explain.add_argument("--tier", help="with --user: in this tier")
    explain.add_argument(
        "--header", metavar="'NAME: VALUE'", action="append", default=[], help="a header; may be repeated"
    )
    explain.add_argument("--token-file", metavar="FILE", type=Path, help="send the caller's token in this file")
    explain.add_argument(
        "--address", metavar="IP", type=parse_address, help="where the connection comes from (default: unknown)"
    )
    explain.add_argument("--config", metavar="FILE", type=Path, help=f"(default {_CONFIG}, if there is one)")
    explain.add_argument("--rules", metavar="FILE", help="rule file or folder, in place of the settings' own")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(render=_explain)


def _explain(options: argparse.Namespace) -> str:
    loaded = _load(options)
    question = _question(options, loaded.settings.identity)
    loop = asyncio.new_event_loop()
    try:
        document = as_document(DryRun(loaded.settings).explain(loaded.rules, question, loop))
    finally:
        loop.close()
    return json.dumps(document) if options.json else "\n".join(_lines(document))


def _load(options: argparse.Namespace) -> Loaded:
    config = options.config or (_CONFIG if _CONFIG.exists() else None)
    loaded = load(config, Flags(rules=options.rules, upstream=None if config else _NOWHERE))
    for warning in loaded.warnings:
        print_error(f"warning: {warning}")
    return loaded


def _question(options: argparse.Namespace, who: IdentityPolicy) -> Question:
    method, space, target = options.request.partition(" ")
    if not space:
        raise ExplainError(f"{options.request!r} is not a request; write a method and a path, as in 'GET /v1/orders/7'")
    if options.tier is not None and options.user is None:
        raise ExplainError("--tier needs --user; without it, the headers say who the caller is")
    headers = [_header(text) for text in options.header]
    if options.token_file is not None:
        header = next((each.header for each in who.sources if isinstance(each, Jwt)), "Authorization")
        headers.append((header, f"Bearer {_token(options.token_file)}"))
    try:
        return Question(method, target.strip(), tuple(headers), options.address, options.user, options.tier)
    except ValueError as error:
        raise ExplainError(f"this is not a request: {error}") from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ExplainError(f"--header {text!r} has no colon; write it as in 'X-Plan: gold'")
    return name, value.strip()


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ExplainError(f"--token-file {path} cannot be read: {error}") from error
    if not token:
        raise ExplainError(f"--token-file {path} is empty")
    return token


def _lines(document: dict[str, Any]) -> list[str]:
    if not document["served"]:
        return [f"rejected with {document['status']}, reason {document['reason']}: {document['why']}"]
    request, endpoint = document["request"], document["endpoint"]
    host = f" of {request['host']}" if request["host"] else ""
    return [
        f"request   {request['method']} {request['path']}{host}",
        f"endpoint  {endpoint['name']}: {_selector(endpoint)}",
        *(f"          not {each['name']} ({_selector(each)}): {each['why']}" for each in document["runners_up"]),
        *_caller(document["caller"]),
        *(f"override  {each['effect']}: {each['reason']}" for each in document["overrides"]),
        *[f"exempt    from {', '.join(document['exempt_from'])}"] * bool(document["exempt_from"]),
        "",
        *_buckets(document),
    ]


def _selector(endpoint: dict[str, Any]) -> str:
    if endpoint["path"] is None:
        return "everything that no other matches"
    host = f"{endpoint['host']}" if endpoint["host"] else ""
    return f"{', '.join(endpoint['methods']) or 'any method'} {host}{endpoint['path']}"


def _caller(caller: dict[str, Any]) -> list[str]:
    who = f"user {caller['user']}" if caller["user"] else f"address {caller['address'] or 'unknown'}"
    source = {"given": "named by --user", "client_address": "known by nothing but the address"}.get(
        caller["source"], f"identified by {caller['source']}"
    )
    return [
        f"caller    {who}, {source}; in the log {caller['caller']}",
        *(f"          {each['source']} ({each['header']}): {each['why']}" for each in caller["attempts"]),
        f"tier      {caller['tier'] or 'none'}",
    ]


def _buckets(document: dict[str, Any]) -> list[str]:
    if document["blocked"]:
        return ["The caller is blocked: every request is refused, and charged to no bucket."]
    if not document["buckets"]:
        return ["No limit counts this request: it passes."]
    rows = (
        (
            each["limit"],
            " and ".join(each["per"]) or "all",
            each["rate"],
            str(each["burst"]),
            str(each["cost"]),
            _note(each),
        )
        for each in document["buckets"]
    )
    return table(("LIMIT", "PER", "RATE", "BURST", "TAKES", ""), rows).splitlines()


def _note(bucket: dict[str, Any]) -> str:
    notes = ["never passes: it costs more than the bucket holds"] * (not bucket["payable"])
    return "; ".join([*notes, *["not enforced"] * (not bucket["enforced"])])
