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
from gateway.commands.explained import lines_of
from gateway.config.flags import Flags
from gateway.config.keys import load_keys
from gateway.config.loader import load
from gateway.config.operator_error import OperatorError
from gateway.limits.address import Address, parse_address
from gateway.limits.explanation import Question, as_document
from gateway.limits.holder import is_attribute_name
from gateway.proxy.explainer import Explainer

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
    return json.dumps(document) if options.json else printable_lines(lines_of(document))


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
