"""Reads rule tests: files beside the rules that say which requests are allowed, and which are refused by which limit.

All files of a folder are one set of tests. What they are run by is `gateway.rule_tests`.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from gateway.config.condition import request_headers
from gateway.config.diagnostic import ConfigError, Diagnostic, Findings, InvalidError
from gateway.config.entries import Entries
from gateway.config.given_caller import AS, GivenCaller
from gateway.config.node import Node, quote
from gateway.config.number import seconds, whole
from gateway.config.per import Sources, check_named
from gateway.config.reader import Value, reads, string
from gateway.config.rulebook import yaml_files
from gateway.config.scalar import choice, each, text
from gateway.config.section import Section
from gateway.config.source import Source
from gateway.limits.endpoint import METHODS
from gateway.limits.limit import Limit, Over
from gateway.limits.override import BLOCKED
from gateway.limits.rate import MICROSECONDS
from gateway.limits.rules import Rules
from gateway.settings.gateway import Settings

MAX_REQUESTS = 200_000
"""Requests that all tests together may make: about a second of CPU."""

_REQUEST = re.compile(r"(?P<method>[A-Za-z-]+) (?P<target>\S+)", re.ASCII)
_INSTANT = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](Z|[+-][0-2][0-9]:[0-5][0-9])")


class Expectation(Enum):
    """What a test expects of a request."""

    ALLOWED = "allowed"
    """It would be forwarded, and is over no limit that tells the upstream."""
    TOLD = "told"
    """It would be forwarded, and the upstream would be told that it is over a limit."""
    REFUSED = "refused"
    """It would get the 429."""
    REJECTED = "rejected"
    """It would get a 400, because servers read it in different ways."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a test: time passes, then requests are made.

    Attributes:
        after: Seconds that pass first.
        method: Of the requests; empty if the step makes none.
        target: Of the requests, as in a request line: a path, or a URL with the Host.
        headers: Names and values of the headers that conditions read.
        times: How many requests it makes.
        expect: What each of them must come to.
        by: Limits that must be among those that refuse.
        endpoint: The endpoint that they must belong to; None for any.
        caller: Who makes them.
        places: Where its keys are.
    """

    after: float
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    times: int
    expect: Expectation
    by: tuple[str, ...]
    endpoint: str | None
    caller: GivenCaller
    places: Mapping[str, Diagnostic] = field(repr=False)

    def failure(self, key: str, message: str) -> Diagnostic:
        """What is wrong with what a key expects."""
        at = self.places.get(key) or self.places["expect"]
        return Diagnostic(at.file, at.line, at.column, at.path, message)


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test.

    Attributes:
        name: What is true if it passes.
        steps: In order.
        begins: When it begins, in microseconds since 1970; None if that does not matter.
        file: Where it is.
        line: The line of its name.
    """

    name: str
    steps: tuple[Step, ...]
    begins: int | None
    file: str
    line: int


def load_rule_tests(settings: Settings, rules: Rules) -> tuple[RuleTest, ...]:
    """Read the tests that the settings name. Blocks.

    Args:
        settings: Say where they are; without `rule_tests`, there are none.
        rules: What they test: limits and endpoints that they name must exist.

    Raises:
        ConfigError: with all problems of all files.
    """
    if settings.rule_tests is None:
        return ()
    findings = Findings()
    reading = _Reading(rules, findings, settings.attributes)
    for file in yaml_files(settings.rule_tests, findings):
        source = Source.of(file, findings)
        with suppress(InvalidError):
            for node in RULE_TESTS(Node(source, source.compose(may_be_blank=True))).values.get("tests", ()):
                with suppress(InvalidError):
                    reading.add(TEST(node))
    findings.result()
    if not reading.tests:
        nothing = Diagnostic(str(settings.rule_tests), 0, 0, "", "there are no tests here; write one under 'tests'")
        raise ConfigError([nothing])
    return tuple(reading.tests.values())


@reads("request", string(r"^[A-Z-]+ \S+$"))
def _request(node: Node) -> tuple[str, str]:
    value = text(node)
    form = _REQUEST.fullmatch(value)
    if form is None:
        raise node.refuse(f"{quote(value)} is not a request; write method and path, as in GET /v1/orders/7")
    if form["method"] not in METHODS:
        near = form["method"].upper() if form["method"].upper() in METHODS else ""
        raise node.refuse(f"{quote(form['method'])} is not a method that the gateway takes", near)
    return form["method"], form["target"]


_texts = each(text, least=1)


@reads("limit, or a list of limits", {"anyOf": [text.schema, _texts]})
def _by(node: Node) -> tuple[Node, ...]:
    if node.is_scalar:
        return (node,)
    _texts(node)
    return tuple(node.items())


_EXPECT = choice(*(each.value for each in Expectation)).then(Expectation)
STEP = Section(
    "tests.steps",
    {
        "after": seconds(),
        "as": AS,
        "request": _request,
        "headers": request_headers,
        "times": whole(1, MAX_REQUESTS),
        "expect": _EXPECT,
        "by": _by,
        "endpoint": text,
    },
    (Step,),
    lambda entries: entries,
    about="Time that passes, requests, or one after the other.",
    meanings={
        "after": "How much time passes first.",
        "as": "Who makes the requests of this step, instead of the test's `as`.",
        "request": "Method and path, `GET /v1/orders/7`; for a Host, a URL: `GET https://files.example/a`.",
        "headers": "Headers that conditions read; a list is sent as so many headers.",
        "times": "How many such requests are made, one right after the other; each must come to the same.",
        "expect": "What each comes to: `allowed`, `told` (allowed, and the upstream told that it is over a limit), "
        "`refused` by a limit, or `rejected` with a 400, because servers read it in different ways.",
        "by": "The limits that refuse, or of which the upstream is told; there may be more. `(blocked)` for a block.",
        "endpoint": "The endpoint that the requests belong to.",
    },
)


@reads("date, time and offset from UTC", string(f"^{_INSTANT.pattern}$"))
def _instant(node: Node) -> int:
    """Microseconds since 1970, from a date and time with an offset (RFC 3339)."""
    value = node.scalar("a date and time")
    try:
        if _INSTANT.fullmatch(value):
            return int(datetime.fromisoformat(value).timestamp()) * MICROSECONDS
    except (ValueError, OverflowError):
        pass
    raise node.refuse(f"{quote(value)} is not an instant; write date, time and offset, as in 2026-03-28T22:00:00Z")


_STEPS = Value(Node.items, "list of sections", {"type": "array", "items": STEP, "minItems": 1})
TEST = Section(
    "tests",
    {"name": text, "begins": _instant, "as": AS, "steps": _STEPS},
    (RuleTest,),
    lambda entries: entries,
    required=("name", "steps"),
    about="What is true of the rules. Each test begins with full buckets.",
    meanings={
        "name": "What is true if it passes; unique.",
        "begins": "When it begins, as in `2026-03-28T22:00:00+01:00`; without it, at midnight on 2026-01-01, UTC.",
        "as": "Who makes the requests; without it, a client at 192.0.2.1.",
        "steps": "What happens, in order.",
    },
)
RULE_TESTS = Section(
    "",
    {"tests": Value(Node.items, "list of sections", {"type": "array", "items": TEST})},
    (),
    lambda entries: entries,
    about="Tests of the rules.",
    meanings={"tests": "The tests."},
)


def _expectation_by(limit: Limit) -> Expectation | None:
    """What a limit makes of a request that is over it; None if nobody notices."""
    if limit.over is Over.TELL:
        return Expectation.TOLD
    return Expectation.REFUSED if limit.refuses else None


class _Reading:
    """Reads tests for the rules they test."""

    def __init__(self, rules: Rules, findings: Findings, sources: Sources) -> None:
        self._sources = sources
        self._limits = {limit.name: _expectation_by(limit) for limit in rules.limits} | {BLOCKED: Expectation.REFUSED}
        self._endpoints = rules.endpoints
        self._findings = findings
        self._places: dict[str, str] = {}
        self._left = MAX_REQUESTS
        self.tests: dict[str, RuleTest] = {}

    def add(self, entries: Entries) -> None:
        caller = self._caller(entries, GivenCaller())
        steps = []
        for node in entries.values.get("steps", ()):
            with suppress(InvalidError):
                steps.append(self._step(STEP(node), caller))
        called = entries.values.get("name")
        if called is None or "steps" not in entries.values:
            raise InvalidError
        at = entries.at("name")
        if called in self.tests:
            raise at.refuse(f"duplicate test {quote(called)}; the first is at {self._places[called]}")
        if not entries.values["steps"] or (steps and not any(step.method for step in steps)):
            raise entries.at("steps").refuse("this test makes no request, so it cannot fail")
        self._places[called] = at.place
        self.tests[called] = RuleTest(
            called, tuple(steps), entries.values.get("begins"), at.source.name, at.diagnostic("").line
        )

    def _step(self, entries: Entries, caller: GivenCaller) -> Step:
        values = entries.values
        if "request" not in entries:
            for key in ("headers", "times", "expect", "by", "endpoint", "as"):
                if key in entries:
                    entries.at(key).refuse(f"{key!r} is about requests, and this step has no 'request'")
            if "after" not in entries:
                entries.node.refuse("nothing happens in this step; write 'request' or 'after'")
        elif "expect" not in entries:
            entries.node.refuse("the key 'expect' is missing; write expect: allowed or expect: refused")
        expect = values.get("expect", Expectation.ALLOWED)
        if "by" in entries and "expect" in values and expect not in (Expectation.REFUSED, Expectation.TOLD):
            entries.at("by").refuse(
                "only a refusal is by a limit, or what the upstream is told; write expect: refused or told, or remove "
                "'by'"
            )
        if "request" in entries and "request" not in values:
            raise InvalidError  # as was noted
        method, target = values.get("request", ("", ""))
        times = values.get("times", 1)
        self._left -= times if method else 0
        if self._left < 0:
            raise entries.at("times").refuse(f"now the tests make more than {MAX_REQUESTS} requests; make fewer")
        keys = ("expect", "by", "endpoint", "request")
        return Step(
            values.get("after", 0.0),
            method,
            target,
            values.get("headers", ()),
            times,
            expect,
            tuple(self._limit(node, expect) for node in values.get("by", ())),
            self._endpoint(entries),
            self._caller(entries, caller),
            {key: entries.at(key).diagnostic("") for key in keys},
        )

    def _caller(self, entries: Entries, otherwise: GivenCaller) -> GivenCaller:
        caller: GivenCaller = entries.values.get("as", otherwise)
        if "as" in entries.values:
            check_named(entries.at("as"), caller.attributes.items(), self._sources)
        return caller

    def _limit(self, node: Node, expect: Expectation) -> str:
        value = text(node)
        if value not in self._limits:
            near = node.nearest(value, self._limits)
            raise node.refuse(f"unknown limit {quote(value)}; it is not in the rules", near)
        found = self._limits[value]
        if found is None:
            raise node.refuse(f"{value} is a shadow limit, which never refuses")
        if found is not expect and expect in (Expectation.REFUSED, Expectation.TOLD):
            what = "never refuses; write expect: told" if found is Expectation.TOLD else "tells the upstream nothing"
            raise node.refuse(f"{value} {what}")
        return value

    def _endpoint(self, entries: Entries) -> str | None:
        value: str | None = entries.values.get("endpoint")
        if value is not None and value not in self._endpoints:
            node = entries.at("endpoint")
            near = node.nearest(value, self._endpoints)
            raise node.refuse(f"unknown endpoint {quote(value)}; it is not in the rules", near)
        return value
