"""`gateway check`: validate the configuration, run the tests of the rules, and print what would be in force."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from time import time_ns
from typing import TYPE_CHECKING, Any

import uvloop

from gateway.commands.config import add_config_flags, load_config
from gateway.commands.console import print_error, print_output
from gateway.config.key_material import load_key_material
from gateway.config.loader import Loaded
from gateway.config.reloaded import reloaded_files
from gateway.config.rule_test import load_rule_tests
from gateway.config.summary import summary, table
from gateway.limits.rules_diff import inventory
from gateway.process.processors import worker_count
from gateway.rule_tests.report import failures_of, summary_of
from gateway.rule_tests.run import RuleTestResult, run_rule_tests

if TYPE_CHECKING:
    from gateway.commands.online import Reached


def add_commands(commands: Any) -> None:
    """Add `check` to argparse's subcommands. Its `run` prints, or raises `ConfigError`."""
    check = commands.add_parser(
        "check",
        help="validate the configuration and print what would be in force",
        description="Validate the configuration, run the tests of the rules, and print what would be in force. Exit "
        "code 0, 1 if a test fails, or 2 with all problems; with --online also 1, if something cannot be reached or "
        "used.",
    )
    add_config_flags(check)
    check.add_argument(
        "--online", action="store_true",
        help="also connect to Redis, PostgreSQL, the upstreams, issuers and the traces' collector (5 seconds at most)",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    loaded = load_config(options, print_error)
    material = load_key_material(loaded.settings)
    tests = run_rule_tests(load_rule_tests(loaded.settings, loaded.rules), loaded.rules)
    failures = failures_of(tests)
    for failure in failures:
        print_error(str(failure))
    show = _as_json if options.json else _as_text
    if not options.online:
        print_output(show(loaded, tests, ()))
        return int(bool(failures))
    # What connects takes longer to import than the check without it takes.
    from gateway.commands.online import check_online  # noqa: PLC0415
    from gateway.proxy.request_parser import require_c_parser  # noqa: PLC0415

    require_c_parser()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # A lookup that nobody waits for any more may still fail, and its thread is waited for: print before that.
        runner.get_loop().set_exception_handler(lambda _loop, _context: None)
        reached = runner.run(check_online(loaded.settings, material.certificates, has_quotas=loaded.rules.has_quotas))
        print_output(show(loaded, tests, reached))
    return int(bool(failures) or any(each.error for each in reached))


def _as_text(loaded: Loaded, tests: Sequence[RuleTestResult], reached: Sequence["Reached"]) -> str:
    text = summary(loaded, worker_count(loaded.settings))
    changes = [("reload (SIGHUP)", place) for place in reloaded_files(loaded.settings)]
    changes.append(("rolling restart (SIGUSR2)", "all other settings"))
    text = f"{text}\n\n{table(('CHANGES WITH', 'SETTING'), changes)}"
    if tests:
        text = f"{text}\n\ntests of the rules: {summary_of(tests)}"
    if not reached:
        return text
    return f"{text}\n\n{table(('ONLINE', 'ADDRESS', 'RESULT'), ((e.name, e.address, str(e)) for e in reached))}"


def _as_json(loaded: Loaded, tests: Sequence[RuleTestResult], reached: Sequence["Reached"]) -> str:
    failures = failures_of(tests)
    document = {
        "revision": loaded.rules.revision,
        "workers": worker_count(loaded.settings),
        **inventory(loaded.rules.at(time_ns() // 1000)),
        "reloaded": {place: str(file) for place, file in reloaded_files(loaded.settings).items()},
        "warnings": [str(warning) for warning in loaded.warnings],
        "tests": {"passed": len(tests) - len(failures), "failures": [str(failure) for failure in failures]},
        "online": [{**asdict(each), "ok": not each.error} for each in reached],
    }
    return json.dumps(document)
