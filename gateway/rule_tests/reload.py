"""`rule_tests_of`: runs the tests of rules that a reload is about to apply."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway.config.diagnostic import Diagnostic
from gateway.config.rule_test import load_rule_tests
from gateway.limits.rules import Rules
from gateway.rule_tests.report import failures_of
from gateway.rule_tests.run import run_rule_tests
from gateway.settings.gateway import Settings

_PAUSE = 0.001
"""Seconds after each millisecond of work, in which the event loop is not kept waiting for the interpreter's lock."""


def rule_tests_of(settings: Settings) -> Callable[[Rules, Path | None], tuple[int, list[Diagnostic]]]:
    """What runs the tests in a file or folder; there are none without one. It blocks: call it in a thread.

    It returns how many tests there are, and the failures, each with its place; it raises `ConfigError` if a test cannot
    be used.
    """

    def run(rules: Rules, where: Path | None) -> tuple[int, list[Diagnostic]]:
        tests = load_rule_tests(replace(settings, rule_tests=where), rules)
        results = run_rule_tests(tests, rules, pause=partial(time.sleep, _PAUSE))
        return len(results), failures_of(results)

    return run
