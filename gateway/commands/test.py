"""`gateway test`: run the rule tests."""

import argparse
from pathlib import Path
from typing import Any

from gateway.commands.config import add_config_flags, load_config
from gateway.commands.console import print_error, print_output
from gateway.config.diagnostic import ConfigError, Diagnostic
from gateway.config.operator_error import OperatorError
from gateway.config.rule_test import load_rule_tests
from gateway.rule_tests.report import as_github, as_junit, as_text
from gateway.rule_tests.run import run_rule_tests

_FORMATS = {"text": as_text, "github": as_github}


class JunitFileError(OperatorError):
    """The file of results cannot be written. The message is for operators."""


def add_commands(commands: Any) -> None:
    """Add `test` to argparse's subcommands. Its `run` prints, or raises `ConfigError` or `JunitFileError`."""
    test = commands.add_parser(
        "test",
        help="run the tests of the rules",
        description="Run the tests of the rules, which rule_tests in gateway.yaml names, on a virtual clock. "
        "No gateway and no Redis is asked. Exit code 0, 1 if a test fails, 2 if the configuration or a test cannot be "
        "used.",
    )
    add_config_flags(test)
    test.add_argument("--junit", metavar="FILE", type=Path, help="also write the results to FILE, as JUnit's XML")
    test.add_argument(
        "--format", choices=_FORMATS, default="text",
        help="how to print failures: github for annotations in GitHub Actions (default %(default)s)",
    )  # fmt: skip
    test.set_defaults(run=_test)


def _test(options: argparse.Namespace) -> int:
    loaded = load_config(options, print_error)
    if loaded.settings.rule_tests is None:
        named = str(options.config or "gateway.yaml")
        raise ConfigError([Diagnostic(named, 0, 0, "", "no tests are named; write 'rule_tests', a file or a folder")])
    results = run_rule_tests(load_rule_tests(loaded.settings, loaded.rules), loaded.rules)
    if options.junit is not None:
        try:
            options.junit.write_text(as_junit(results), encoding="utf-8")
        except OSError as error:
            raise JunitFileError(f"{options.junit} cannot be written: {error.strerror}") from error
    print_output(_FORMATS[options.format](results))
    return int(any(result.failure for result in results))
