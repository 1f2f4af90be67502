"""`gateway explain`: which endpoint a request belongs to, whom it is charged to, and which buckets have to pay."""

import argparse
import asyncio
import json
from pathlib import Path
from ssl import PEM_FOOTER, PEM_HEADER, DER_cert_to_PEM_cert, PEM_cert_to_DER_cert
from time import time_ns
from typing import Any

from gateway.auth.grant import Scope
from gateway.auth.key_ring import KeyRings
from gateway.commands.console import print_error, printable_lines
from gateway.commands.control_client import DEFAULT_CONFIG, ControlClient, add_client_flags
from gateway.commands.override import quota_text
from gateway.config.flags import Flags
from gateway.config.keys import load_keys
from gateway.config.loader import load
from gateway.config.operator_error import OperatorError
from gateway.config.summary import table
from gateway.limits.address import Address, group, parse_address
from gateway.limits.explanation import Question, as_document
from gateway.limits.holder import NETWORK, Prefixes, is_attribute_name, name_part
from gateway.proxy.explainer import Explainer

_CLAIMS = {
    None: "the caller's own rate, from {}",
    "missing": "the caller has no {}, so no rate of their own",
    "invalid": "the caller's {} is not a whole number, so no rate of their own",
    "above_most": "the caller's {} is above at_most",
}
"""What `from_claim` means for a caller, by why their rate does not count."""

_NOWHERE = "http://127.0.0.1:9"
"""An upstream for rules without settings; nothing is sent."""


class ExplainError(OperatorError):
    """The command line does not describe a request. The message is for operators."""


def add_commands(commands: Any) -> None:
    """Add `explain` to argparse's subcommands.

    Its `render` returns what to print, or raises `ExplainError`, `ConfigError` or `ControlClientError`.
    """
    explain = commands.add_parser(
        "explain",
        help="say which rules apply to a request, and why",
        description="Say which endpoint a request belongs to and why, whom it is charged to and why, and which buckets "
        "have to pay. It goes through the code that serves requests, and takes nothing. Without --running, only the "
        "files are read.",
    )
    explain.add_argument("request", metavar="REQUEST", help="a method and a path or URL, as in 'GET /v1/orders/7'")
    explain.add_argument("--user", metavar="ID", help="as this user, whatever the headers say")
    explain.add_argument("--tier", help="with --user: in this tier")
    explain.add_argument(
        "--attribute", metavar="NAME=VALUE", action="append", default=[], type=_attribute,
        help="with --user: with this attribute, as in org=acme; may be repeated",
    )  # fmt: skip
    explain.add_argument(
        "--header", metavar="'NAME: VALUE'", action="append", default=[], help="a header; may be repeated"
    )
    explain.add_argument(
        "--token-file", dest="caller_token", metavar="FILE", type=Path, help="send the caller's token in this file"
    )
    explain.add_argument(
        "--certificate", metavar="FILE", type=Path, help="connect with the client certificate in this file, in PEM"
    )
    explain.add_argument(
        "--address", metavar="IP", type=_address, help="where the connection comes from (default: unknown)"
    )
    explain.add_argument("--rules", metavar="FILE", help="rule file or folder, in place of the settings' own")
    explain.add_argument(
        "--running", action="store_true",
        help="ask the running gateway, which knows of overrides and what each bucket holds; implied by --url",
    )  # fmt: skip
    add_client_flags(explain, "--admin-token-file")
    explain.set_defaults(render=_explain)


def _explain(options: argparse.Namespace) -> str:
    question = _question(options)
    if options.running or options.url:
        if options.rules is not None:
            raise ExplainError("--rules is for files; the running gateway explains with the rules in force")
        client = ControlClient(options, Scope.READ_LIMITS)
        document = client.call("POST", "/api/v1/admin/explain", _body(options, question))
    else:
        document = _offline(options, question)
    return json.dumps(document) if options.json else printable_lines(_lines(document))


def _offline(options: argparse.Namespace, question: Question) -> dict[str, Any]:
    """What the files say."""
    config = options.config if options.config != DEFAULT_CONFIG or options.config.exists() else None
    loaded = load(config, Flags(rules=options.rules, upstream=None if config else _NOWHERE))
    for warning in loaded.warnings:
        print_error(f"warning: {warning}")
    loop = asyncio.new_event_loop()
    try:
        explainer = Explainer(loaded.settings, KeyRings(load_keys(loaded.settings)))
        return as_document(explainer.explain(loaded.rules.at(time_ns() // 1000), question, loop))
    finally:
        loop.close()


def _body(options: argparse.Namespace, question: Question) -> dict[str, Any]:
    body = {
        "request": f"{question.method} {question.target}",
        "user_id": question.user,
        "tier": question.tier,
        "attributes": dict(question.attributes) or None,
        "headers": [f"{name}: {value}" for name, value in question.headers] or None,
        "address": str(options.address) if options.address else None,
        "token": question.token,
        "certificate": question.certificate and DER_cert_to_PEM_cert(question.certificate),
    }
    return {name: value for name, value in body.items() if value is not None}


def _question(options: argparse.Namespace) -> Question:
    method, space, target = options.request.partition(" ")
    if not space:
        raise ExplainError(f"{options.request!r} is not a request; write a method and a path, as in 'GET /v1/orders/7'")
    if options.tier is not None and options.user is None:
        raise ExplainError("--tier needs --user; without it, the headers say who the caller is")
    if options.attribute and options.user is None:
        raise ExplainError("--attribute needs --user; without it, the headers say who the caller is")
    headers = tuple(map(_header, options.header))
    token = None if options.caller_token is None else _token(options.caller_token)
    certificate = None if options.certificate is None else _certificate(options.certificate)
    who = options.user, options.tier, dict(options.attribute)
    try:
        return Question(method, target.strip(), headers, options.address, *who, token, certificate)
    except ValueError as error:
        raise ExplainError(f"this is not a request: {error}") from None


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value or not is_attribute_name(name):
        raise argparse.ArgumentTypeError(f"{text!r} is not an attribute; write it as in org=acme")
    return name, value


def _address(text: str) -> Address:
    address = parse_address(text)
    if address is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IP address")
    return address


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ExplainError(f"--header {text!r} has no colon; write it as in 'X-Plan: gold'")
    return name, value.strip()


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise ExplainError(f"--token-file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ExplainError(f"--token-file {path} does not hold a token: it is not text") from None
    if not token:
        raise ExplainError(f"--token-file {path} is empty")
    return token


def _certificate(path: Path) -> bytes:
    """The first certificate of a file, in DER."""
    try:
        text = path.read_text()
        return PEM_cert_to_DER_cert(text[text.index(PEM_HEADER) : text.index(PEM_FOOTER) + len(PEM_FOOTER)])
    except OSError as error:
        raise ExplainError(f"--certificate {path} cannot be read: {error.strerror}") from error
    except ValueError:
        raise ExplainError(f"--certificate {path} holds no certificate in PEM") from None


def _lines(document: dict[str, Any]) -> list[str]:
    if not document["served"]:
        return [f"rejected with {document['status']}, reason {document['reason']}: {document['why']}"]
    request, endpoint = document["request"], document["endpoint"]
    host = f" of {request['host']}" if request["host"] else ""
    return [
        f"request   {request['method']} {request['path']}{host}",
        f"endpoint  {endpoint['name']}: {_selector(endpoint)}",
        *(f"          not {each['name']} ({_selector(each)}): {each['why']}" for each in document["runners_up"]),
        *_measured(endpoint.get("measured_cost")),
        *_caller(document["caller"]),
        *[f"priority  {document['priority']}"] * _matters(document),
        *map(_override, document["overrides"]),
        *[f"left out  {', '.join(document['left_out'])}: say who the user is with --attribute"]
        * bool(document["left_out"]),
        *[f"exempt    from {', '.join(document['exempt_from'])}"] * bool(document["exempt_from"]),
        "",
        *_buckets(document),
    ]


def _measured(cost: dict[str, Any] | None) -> list[str]:
    """How what a request costs is found when it has ended."""
    if cost is None:
        return []
    rules = {
        "header": "then what the header {} of the response says",
        "per": "then 1 for each {} bytes of the response",
        "charge_on": "charged only if the status is {}",
    }
    how = [text.format(_listed(cost[name])) for name, text in rules.items() if name in cost]
    how += [f"at most {cost['at_most']}"] * ("at_most" in cost)
    how += [f"nothing if it is {_listed(cost['give_back_on'])}"] * bool(cost["give_back_on"])
    return [f"cost      {cost['estimate']} at first, {', '.join(how)}"]


def _listed(values: Any) -> str:
    return " or ".join(map(str, values)) if isinstance(values, list) else str(values)


def _matters(document: dict[str, Any]) -> bool:
    """Whether the priority of the request is worth a line."""
    return document["priority"] != "normal" or any(each["reserve"] != "0%" for each in document["buckets"])


def _selector(endpoint: dict[str, Any]) -> str:
    if endpoint["path"] is None:
        return "everything that no other matches"
    host = f"{endpoint['host']}" if endpoint["host"] else ""
    return f"{', '.join(endpoint['methods']) or 'any method'} {host}{endpoint['path']}{_conditions(endpoint)}"


def _conditions(endpoint: dict[str, Any]) -> str:
    """What a request must have besides method, host and path."""
    headers = [f"the header {name} is {_either(values)}" for name, values in endpoint["headers"].items()]
    keys = [f"the query key {name} is {_either(values)}" for name, values in endpoint["query"].items()]
    return f" if {' and '.join([*headers, *keys])}" if headers or keys else ""


def _either(values: list[str]) -> str:
    return " or ".join(value or "empty" for value in values)


def _client(text: str | None) -> str:
    """A client known by address only, and what is counted as one with it."""
    address = parse_address(text or "")
    if address is None:
        return f"address {text or 'unknown'}"
    counted = group(address)
    return f"address {text}" + f" (all of {counted} is one caller)" * (counted != text)


def _caller(caller: dict[str, Any]) -> list[str]:
    who = f"user {caller['user']}" if caller["user"] else _client(caller["address"])
    source = {"given": "named by --user", "client_address": "known by nothing but the address"}.get(
        caller["source"], f"identified by {caller['source']}"
    )
    return [
        f"caller    {who}, {source}; in the log {caller['caller']}",
        *(f"          {each['source']} ({each['reads']}): {each['why']}" for each in caller["attempts"]),
        f"tier      {caller['tier'] or 'none'}",
        *(f"has       {name} {value}" for name, value in caller["attributes"].items()),
    ]


def _override(override: dict[str, Any]) -> str:
    effect = override["effect"]
    if effect == "quota":
        effect = quota_text(override)
    elif effect == "tier":
        effect = f"tier {override['tier']}"
    until = f", until {override['expires_at']}" if override.get("expires_at") else ""
    return f"override  {effect}{until}: {override['reason']}"


def _buckets(document: dict[str, Any]) -> list[str]:
    if document["blocked"]:
        return ["The caller is blocked: every request is refused, and charged to no bucket."]
    if not document["buckets"]:
        return ["No limit counts this request: it passes."]
    is_running = "allowed" in document
    head = ("LIMIT", "PER", "RATE", "BURST", "TAKES", *["HOLDS", "CAN PAY"] * is_running, "")
    rows = [
        (
            each["limit"],
            " and ".join(map(_part, each["per"])),
            each.get("rate") or each["quota"],
            str(each.get("burst", "-")),
            str(each["cost"]),
            *((str(each["remaining"]), _payable(each)) if is_running else ()),
            _note(each),
        )
        for each in document["buckets"]
    ]
    return [*table(head, rows).splitlines(), *(["", _outcome(document)] if is_running else [])]


def _part(part: Any) -> str:
    """A part of what a limit is per: a word, or a network."""
    return part if isinstance(part, str) else name_part(Prefixes(**part[NETWORK]))


def _payable(bucket: dict[str, Any]) -> str:
    if bucket["remaining"] >= bucket["cost"]:
        return "now"
    return f"from {bucket['payable_at']}" if bucket["payable_at"] else "never"


def _note(bucket: dict[str, Any]) -> str:
    keeps = bucket.get("reserve", "0%") != "0%"
    most = "may give" if keeps else "holds"
    missing = " and ".join(bucket.get("missing", ()))
    if missing and not bucket["payable"]:
        notes = [f"never passes: the caller has no {missing}"]
    elif missing:
        notes = [f"the caller has no {missing}: one bucket for all such"]
    else:
        notes = [f"never passes: it costs more than the bucket {most}"] * (not bucket["payable"])
    if claim := bucket.get("from_claim"):
        notes.append(_CLAIMS[claim["unusable"]].format(claim["attribute"]))
    notes += [f"{bucket['reserve']} kept for a higher priority"] * keeps
    return "; ".join([*notes, *_why_not_enforced(bucket)])


def _why_not_enforced(bucket: dict[str, Any]) -> list[str]:
    share = bucket.get("enforce", "true")
    if bucket.get("candidate"):
        return ["a candidate, never refuses"]
    if bucket.get("over") == "tell":
        return ["never refuses, tells the upstream"]
    if share.endswith("%"):
        return [f"enforced for {share} of callers, {'this one included' if bucket['enforced'] else 'not this one'}"]
    return ["not enforced"] * (not bucket["enforced"])


def _outcome(document: dict[str, Any]) -> str:
    degraded = " Redis is unavailable; this is one worker's view." if document["degraded"] else ""
    if document["unavailable"]:
        return f"It would get a 503, because a limit says when_redis_is_down: refuse.{degraded}"
    if document["allowed"]:
        told = [each["limit"] for each in document["buckets"] if each["over"] == "tell" and _payable(each) != "now"]
        and_told = f", and the upstream would be told of {', '.join(told)}" if told else ""
        return f"It would pass now{and_told}.{degraded}"
    refusing = [each["limit"] for each in document["buckets"] if each["enforced"] and _payable(each) != "now"]
    until = document["allowed_from"]
    when = f"until {until}, if nothing else is charged until then" if until else "always"
    return f"It would be refused by {', '.join(refusing)}, {when}.{degraded}"
