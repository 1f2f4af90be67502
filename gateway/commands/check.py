"""`gateway check`: validate the configuration, and print what would be in force."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import uvloop

from gateway.commands.config import add_config_flags, load_config
from gateway.commands.console import print_error, print_output
from gateway.commands.online import Reached, check_online
from gateway.config.certificates import load_certificates
from gateway.config.loader import Loaded
from gateway.config.summary import summary, table
from gateway.limits.rules_diff import inventory
from gateway.process.processors import worker_count


def add_check_command(commands: Any) -> None:
    """Add `check` to argparse's subcommands. Its `run` prints, or raises `ConfigError`."""
    check = commands.add_parser(
        "check",
        help="validate the configuration and print what would be in force",
        description="Validate the configuration and print what would be in force. Exit code 0, or 2 with all problems; "
        "with --online also 1, if something cannot be reached or used.",
    )
    add_config_flags(check)
    check.add_argument(
        "--online", action="store_true",
        help="also connect to Redis, PostgreSQL, the upstreams and the traces' collector (5 seconds at most)",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    loaded = load_config(options, print_error)
    show = _as_json if options.json else _as_text
    if not options.online:
        print_output(show(loaded, ()))
        return 0
    certificates = load_certificates(loaded.settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # A lookup that nobody waits for any more may still fail, and its thread is waited for: print before that.
        runner.get_loop().set_exception_handler(lambda _loop, _context: None)
        reached = runner.run(check_online(loaded.settings, certificates))
        print_output(show(loaded, reached))
    return int(any(each.error for each in reached))


def _as_text(loaded: Loaded, reached: Sequence[Reached]) -> str:
    text = summary(loaded, worker_count(loaded.settings))
    if not reached:
        return text
    return f"{text}\n\n{table(('ONLINE', 'ADDRESS', 'RESULT'), ((e.name, e.address, str(e)) for e in reached))}"


def _as_json(loaded: Loaded, reached: Sequence[Reached]) -> str:
    document = {
        "revision": loaded.rules.revision,
        "workers": worker_count(loaded.settings),
        **inventory(loaded.rules),
        "warnings": [str(warning) for warning in loaded.warnings],
        "online": [{**asdict(each), "ok": not each.error} for each in reached],
    }
    return json.dumps(document)
