"""`gateway test` runs the rule tests, and `gateway check` does, too."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gateway.commands.cli import main

TESTS = """\
tests:
  - name: right
    steps: [{request: GET /, times: 3, expect: allowed}]
  - name: "wrong: 50%, <at> once"
    steps:
      - {request: GET /, times: 4, expect: allowed}
"""
FAILURE = (
    "rule_tests.yaml:6:44: tests[1].steps[0].expect: expected allowed, but the request was refused by everyone "
    "(1/s burst 3; it could pay in 1s) (number 4 of 4)"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway with two tests, one of which fails."""
    (tmp_path / "rules.yaml").write_text("limits: [{name: everyone, per: user, rate: 1/s, burst: 3}]\n")
    (tmp_path / "rule_tests.yaml").write_text(TESTS)
    (tmp_path / "gateway.yaml").write_text(
        "upstreams: {default: {urls: [http://127.0.0.1:9]}}\nrules: rules.yaml\nrule_tests: rule_tests.yaml\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_failures_are_printed_with_their_places(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--config", "gateway.yaml"]) == 1
    assert capsys.readouterr().out == f"{FAILURE} (wrong: 50%, <at> once)\n1 passed, 1 failed\n"


def test_other_rules_can_be_tested(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "new.yaml").write_text("limits: [{name: everyone, per: user, rate: 1/s, burst: 4}]\n")
    assert main(["test", "--config", "gateway.yaml", "--rules", "new.yaml"]) == 0
    assert capsys.readouterr().out == "2 passed\n"


def test_github_shows_failures_beside_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--config", "gateway.yaml", "--format", "github"]) == 1
    assert capsys.readouterr().out == (
        "::error file=rule_tests.yaml,line=6,col=44,title=wrong%3A 50%25%2C <at> once::expected allowed, but the "
        "request was refused by everyone (1/s burst 3; it could pay in 1s) (number 4 of 4)\n1 passed, 1 failed\n"
    )


def test_junit_has_every_test(folder: Path) -> None:
    assert main(["test", "--config", "gateway.yaml", "--junit", "results.xml"]) == 1
    suites = ET.parse(folder / "results.xml").getroot()
    assert (suites.tag, suites.attrib["tests"], suites.attrib["failures"]) == ("testsuites", "2", "1")
    right, wrong = suites.iter("testcase")
    assert (right.attrib["name"], right.attrib["line"], len(right)) == ("right", "2", 0)
    assert wrong.attrib["name"] == "wrong: 50%, <at> once"
    assert wrong[0].text == FAILURE


def test_a_file_that_cannot_be_written_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--config", "gateway.yaml", "--junit", "gone/results.xml"]) == 1
    assert "gone/results.xml cannot be written: No such file or directory" in capsys.readouterr().err


def test_a_test_that_cannot_be_used_is_a_problem_of_the_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "rule_tests.yaml").write_text(TESTS.replace("times: 3", "time: 3"))
    for command in ("test", "check"):
        assert main([command, "--config", "gateway.yaml"]) == 2
        assert "rule_tests.yaml:3:30: tests[0].steps[0].time: unknown key 'time'" in capsys.readouterr().err


def test_without_tests_there_is_nothing_to_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "gateway.yaml").write_text("upstreams: {default: {urls: [http://127.0.0.1:9]}}\nrules: rules.yaml\n")
    assert main(["test", "--config", "gateway.yaml"]) == 2
    assert "gateway.yaml: no tests are named; write 'rule_tests'" in capsys.readouterr().err
    assert main(["check", "--config", "gateway.yaml"]) == 0
    assert "tests of the rules" not in capsys.readouterr().out


def test_check_runs_the_tests_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "gateway.yaml"]) == 1
    said = capsys.readouterr()
    assert FAILURE in said.err
    assert said.out.endswith("\n\ntests of the rules: 1 passed, 1 failed\n")
    assert main(["check", "--config", "gateway.yaml", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["tests"] == {
        "passed": 1, "failures": [f"{FAILURE} (wrong: 50%, <at> once)"],
    }  # fmt: skip
    (folder / "rule_tests.yaml").write_text(TESTS.replace("times: 4", "times: 2"))
    assert main(["check", "--config", "gateway.yaml"]) == 0
    assert capsys.readouterr().out.endswith("\n\ntests of the rules: 2 passed\n")
