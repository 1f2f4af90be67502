"""The results of rule tests in words, as annotations of GitHub, and as JUnit's XML."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from gateway.config.diagnostic import Diagnostic
from gateway.rule_tests.run import RuleTestResult


def failures_of(results: Sequence[RuleTestResult]) -> list[Diagnostic]:
    """What failed, with the name of its test."""
    return [
        Diagnostic(found.file, found.line, found.column, found.path, f"{found.message} ({result.test.name})")
        for result in results
        if (found := result.failure) is not None
    ]


def summary_of(results: Sequence[RuleTestResult]) -> str:
    """How many passed and failed."""
    failed = len(failures_of(results))
    return f"{len(results) - failed} passed" + (f", {failed} failed" if failed else "")


def as_text(results: Sequence[RuleTestResult]) -> str:
    """The failures, and how many there are."""
    return "\n".join([*map(str, failures_of(results)), summary_of(results)])


def as_github(results: Sequence[RuleTestResult]) -> str:
    """The failures as workflow commands of GitHub Actions, which shows them beside the lines of the files."""
    lines = [
        f"::error file={_property(found.file)},line={found.line},col={found.column},"
        f"title={_property(result.test.name)}::{_data(found.message)}"
        for result in results
        if (found := result.failure) is not None
    ]
    return "\n".join([*lines, summary_of(results)])


def as_junit(results: Sequence[RuleTestResult]) -> str:
    """The results as JUnit's XML."""
    counts = {"tests": str(len(results)), "failures": str(len(failures_of(results))), "errors": "0", "skipped": "0"}
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": "rule tests", **counts})
    for result in results:
        test = result.test
        place = {"classname": test.file, "name": test.name, "file": test.file, "line": str(test.line)}
        case = ET.SubElement(suite, "testcase", place)
        if result.failure is not None:
            failure = ET.SubElement(case, "failure", {"message": result.failure.message})
            failure.text = str(result.failure)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
