"""`gateway caller`: print the keyed hash under which a caller is stored."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.config.loader import load_settings
from gateway.config.operator_error import OperatorError
from gateway.limits.address import Address, is_one_client, parse_clients
from gateway.limits.identity import Identity

_CONFIG = Path("config/gateway.yaml")
_FORMS = ("user", "address")


class CallerError(OperatorError):
    """The command line names no caller. The message is for operators."""


def add_commands(commands: Any) -> None:
    """Add `caller` to argparse's subcommands. Its `render` returns what to print.

    `render` raises `CallerError`, and `ConfigError` for invalid settings.
    """
    caller = commands.add_parser(
        "caller",
        help="print the hash that stands for a user or an address",
        description="Print the hash that stands for a user or an address in logs, Redis and reports. It is computed "
        "here, with the hash key of gateway.yaml; no gateway and no Redis is asked.",
        usage="gateway caller [-h] [--config FILE] USER | user USER | address IP",
    )
    caller.add_argument("--config", metavar="FILE", type=Path, default=_CONFIG, help="(default %(default)s)")
    caller.add_argument(
        "who",
        nargs="+",
        metavar="USER",
        help="a user id; or the word address and an IP address; or user and any user id",
    )
    caller.set_defaults(render=_caller)


def parse_address(text: str) -> Address:
    """An IP address of the command line."""
    with suppress(ValueError):
        clients = parse_clients(text)
        if is_one_client(clients):
            return clients.network_address
    raise argparse.ArgumentTypeError(f"{text!r} is not an IP address")


def user_digest(identity: Identity, user: str) -> str:
    """The digest of the user with this id."""
    return identity.user(user).digest.decode()


def address_digest(identity: Identity, address: Address) -> str:
    """The digest of a client's address; IPv6 addresses of one /64 have the same."""
    return identity.client(address).digest.decode()


def _caller(options: argparse.Namespace) -> str:
    form, name = _form(options.who)
    identity = Identity((), (), load_settings(options.config).identity.hash_key)
    if form == "user":
        return user_digest(identity, name)
    try:
        return address_digest(identity, parse_address(name))
    except argparse.ArgumentTypeError as error:
        raise CallerError(str(error)) from error


def _form(who: Sequence[str]) -> tuple[str, str]:
    if len(who) == 1:
        return "user", who[0]
    if len(who) == len(_FORMS) and who[0] in _FORMS:
        return who[0], who[1]
    raise CallerError("name one caller: a user id, or the word address and an IP address")
