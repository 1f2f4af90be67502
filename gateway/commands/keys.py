"""`gateway keys hash`: make the record of an API key, for a `keys_file`. The key is read from standard input."""

import argparse
import json
import sys
from hashlib import sha256
from typing import Any

from gateway.commands.console import print_error
from gateway.config.operator_error import OperatorError

_MAX_LENGTH = 8190
_SHORT = 20
"""Characters of a key below which its hash may help to guess it."""


class ApiKeyError(OperatorError):
    """What was read is not an API key. The message quotes nothing of it."""


def add_commands(commands: Any) -> None:
    """Add `keys` to argparse's subcommands. Its `render` returns what to print, and raises `ApiKeyError`."""
    keys = commands.add_parser("keys", help="make records of API keys", description="Make records of API keys.")
    kinds = keys.add_subparsers(required=True, metavar="hash")
    hashing = kinds.add_parser(
        "hash",
        help="make the record of a key",
        description="Read an API key from standard input, and print its record: a line for the file that keys_file "
        "names. The key is not an argument, because others could see it in the list of processes and in the shell's "
        "history.",
    )
    hashing.add_argument("--user", required=True, type=_text, help="the id of the user whose key it is")
    hashing.add_argument("--tier", type=_text, help="the user's tier (default: none)")
    hashing.add_argument(
        "--attribute", type=_attribute, action="append", default=[], metavar="NAME=VALUE",
        help="an attribute of the user, such as org=acme; may be repeated",
    )  # fmt: skip
    hashing.set_defaults(render=_hash)


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable() or text != text.strip():
        raise argparse.ArgumentTypeError("it is empty, has control characters, or spaces around it")
    return text


def _attribute(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError("write NAME=VALUE, such as org=acme")
    return _text(name), _text(value)


def _hash(options: argparse.Namespace) -> str:
    key = sys.stdin.buffer.read(_MAX_LENGTH + 2).rstrip(b"\r\n")
    if not key:
        raise ApiKeyError("there is no key on standard input; write: gateway keys hash --user ana < key.txt")
    if len(key) > _MAX_LENGTH or any(byte <= ord(" ") or byte > ord("~") for byte in key):
        raise ApiKeyError("a key is one line of printable ASCII without spaces, of at most 8190 characters")
    if len(key) < _SHORT:
        print_error(
            f"warning: the key has {len(key)} characters; whoever reads the file may find it by trying, so make it "
            "longer, as by: openssl rand -hex 32"
        )
    record: dict[str, object] = {"sha256": sha256(key).hexdigest(), "user": options.user}
    if options.tier:
        record["tier"] = options.tier
    if options.attribute:
        record["attributes"] = dict(options.attribute)
    return json.dumps(record, ensure_ascii=False)
