"""Rule tests are read with every mistake at its place."""

from pathlib import Path

import pytest

from gateway.config.diagnostic import ConfigError
from gateway.config.flags import Flags
from gateway.config.given_caller import GivenCaller
from gateway.config.loader import load
from gateway.config.rule_test import MAX_REQUESTS, Expectation, RuleTest, load_rule_tests
from tests.config.reading import UPSTREAMS

RULES = """\
endpoints: [{name: order, path: '/v1/orders/{id}'}]
limits:
  - {name: everyone, per: user, rate: 1/s, burst: 3}
  - {name: shadow, per: user, rate: 1/s, enforce: false}
"""


def read(folder: Path, *texts: str) -> tuple[RuleTest, ...]:
    """What is read from a folder of files of tests."""
    tests = folder / "rule_tests"
    tests.mkdir()
    for number, text in enumerate(texts, 1):
        (tests / f"{number}.yaml").write_text(text)
    (folder / "rules.yaml").write_text(RULES)
    (folder / "gateway.yaml").write_text(f"{UPSTREAMS}rules: rules.yaml\nrule_tests: rule_tests\n")
    loaded = load(folder / "gateway.yaml")
    return load_rule_tests(loaded.settings, loaded.rules)


def problems(folder: Path, *texts: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(folder, *texts)
    return [str(problem).removeprefix(f"{folder}/rule_tests/") for problem in error.value.problems]


def step(text: str) -> str:
    """A file with one test, and this step in line 4, after one that is right."""
    return f"tests:\n- name: a\n  steps: [{{request: GET /, expect: allowed}},\n{{{text}}}]\n"


def test_the_files_of_a_folder_are_one_set_of_tests(tmp_path: Path) -> None:
    text = "tests: [{name: %s, as: {user: ana}, steps: [{request: GET /, expect: allowed}]}]\n"
    assert [test.name for test in read(tmp_path, text % "a", text % "b")] == ["a", "b"]


def test_a_step_has_the_caller_of_its_test_unless_it_names_its_own(tmp_path: Path) -> None:
    (test,) = read(
        tmp_path,
        "tests:\n- name: a\n  as: {user: ana, tier: gold}\n  steps:\n"
        "  - {after: 1.5s, request: GET /v1, times: 7, expect: refused, by: [everyone]}\n"
        "  - {as: {address: '2001:db8::7'}, request: GET http://files.example/a, expect: allowed, endpoint: default}\n",
    )
    first, second = test.steps
    assert (first.after, first.method, first.target, first.times) == (1.5, "GET", "/v1", 7)
    assert (first.expect, first.by, first.caller) == (
        Expectation.REFUSED, ("everyone",), GivenCaller("ana", "gold"),
    )  # fmt: skip
    assert (str(second.caller.address), second.caller.user, second.target) == (
        "2001:db8::7", None, "http://files.example/a",
    )  # fmt: skip
    assert (test.line, Path(test.file).name) == (2, "1.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("request: GET /, expect: alowed", "did you mean 'allowed'"),
        ("request: GET /", "'expect' is missing"),
        ("expect: allowed", "has no 'request'"),
        ("after: 1s, by: everyone", "has no 'request'"),
        ("", "nothing happens"),
        ("request: GET /, expect: allowed, by: everyone", "only a refusal is by a limit"),
        ("request: GET /, expect: rejected, by: everyone", "only a refusal is by a limit"),
        ("request: GET /, expect: refused, by: everybody", "unknown limit 'everybody'"),
        ("request: GET /, expect: refused, by: shadow", "shadow limit"),
        ("request: GET /, expect: refused, by: []", "is empty"),
        ("request: GET /, expect: allowed, endpoint: orders", "did you mean 'order'"),
        ("request: get /, expect: allowed", "did you mean GET"),
        ("request: BREW /, expect: allowed", "not a method"),
        ("request: CONNECT /, expect: allowed", "not a method"),
        ("request: /v1/orders, expect: allowed", "is not a request"),
        ("request: GET /a b, expect: allowed", "is not a request"),
        ("request: [GET, /], expect: allowed", "expected a text, found a list"),
        ("request: GET /, expect: allowed, times: 0", "out of range"),
        ("request: GET /, expect: allowed, times: many", "not a whole number"),
        ("after: -1s", "not a duration"),
        ("after: 0", "out of range"),
        ("after: 400d", "366d"),
        ("request: GET /, expect: allowed, as: ana", "expected a mapping"),
        ("request: GET /, expect: allowed, as: {tier: gold}", "only users have tiers"),
        ("request: GET /, expect: allowed, as: {address: 10.0.0.0/8}", "is not an address"),
        ("request: GET /, expect: allowed, as: {address: '192.0.2.1:80'}", "is not an address"),
        ("request: GET /, expect: allowed, as: {address: 'fe80::1%eth0'}", "is not an address"),
        ("reqest: GET /, expect: allowed", "did you mean 'request'"),
        (f"request: GET /, expect: allowed, times: {MAX_REQUESTS}", "make fewer"),
    ],
)
def test_a_mistake_in_a_step_is_reported_at_its_place(text: str, said: str, tmp_path: Path) -> None:
    found = problems(tmp_path, step(text))
    assert all(problem.startswith("1.yaml:4:") and "tests[0].steps[1]" in problem for problem in found)
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# nothing\n", "there are no tests"),
        ("tests: []\n", "there are no tests"),
        ("tests: {}\n", "expected a list"),
        ("test: []\n", "did you mean 'tests'"),
        ("limits: []\n", "unknown key 'limits'"),
        ("tests: [{name: a}]\n", "'steps' is missing"),
        ("tests: [{steps: [{request: GET /, expect: allowed}]}]\n", "'name' is missing"),
        ("tests: [{name: a, steps: []}]\n", "makes no request"),
        ("tests: [{name: a, steps: [{after: 1s}]}]\n", "makes no request"),
        ("tests: [{name: a, steps: 7}]\n", "expected a list"),
        ("tests: [\n", "not YAML"),
        ("", "empty"),
    ],
)
def test_a_mistake_in_a_file_is_reported(text: str, said: str, tmp_path: Path) -> None:
    assert said in "\n".join(problems(tmp_path, text))


def test_a_request_that_is_a_mistake_is_one_problem(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "tests: [{name: a, steps: [{request: get /, expect: allowed}]}]\n")
    assert "did you mean GET" in problem


def test_two_tests_of_one_name_are_a_mistake_in_whatever_files_they_are(tmp_path: Path) -> None:
    text = "tests: [{name: a, steps: [{request: GET /, expect: allowed}]}]\n"
    (problem,) = problems(tmp_path, text, text)
    assert problem.startswith("2.yaml:1:16: tests[0].name: duplicate test 'a'; the first is at ")
    assert problem.endswith("1.yaml:1")


def test_a_folder_that_is_not_there_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(f"{UPSTREAMS}rule_tests: gone\n")
    with pytest.raises(ConfigError, match=r"gateway.yaml:2:13: rule_tests: .*gone: No such file"):
        load(tmp_path / "gateway.yaml")


def test_without_the_setting_there_are_no_tests() -> None:
    loaded = load(None, Flags(upstream="http://127.0.0.1:9000"))
    assert load_rule_tests(loaded.settings, loaded.rules) == ()
