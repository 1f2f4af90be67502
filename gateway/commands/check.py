"""`gateway check`: validate the configuration, and print what would be in force."""

import argparse
from typing import Any

from gateway.commands.config import add_config_flags, load_config
from gateway.commands.console import print_error
from gateway.config.summary import summary
from gateway.process.processors import worker_count


def add_check_command(commands: Any) -> None:
    """Add `check` to argparse's subcommands. Its `render` returns what to print, or raises `ConfigError`."""
    check = commands.add_parser(
        "check",
        help="validate the configuration and print what would be in force",
        description="Validate the configuration and print what would be in force. Exit code 0, or 2 with all problems.",
    )
    add_config_flags(check)
    check.set_defaults(render=_check)


def _check(options: argparse.Namespace) -> str:
    loaded = load_config(options, print_error)
    return summary(loaded, worker_count(loaded.settings))
