"""`.github/`: what runs for a change and for a release."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.process import ROOT, run

GITHUB = ROOT / ".github"
WORKFLOWS: dict[str, dict[Any, Any]] = {
    file.name: yaml.safe_load(file.read_text()) for file in (GITHUB / "workflows").glob("*.yaml")
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
JOBS = [(name, job) for name, workflow in WORKFLOWS.items() for job in workflow["jobs"]]


def steps(workflow: str, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = WORKFLOWS[workflow]["jobs"][job].get("steps", [])
    return found


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read_unless_a_job_says_more(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    more = {job: told["permissions"] for job, told in workflow["jobs"].items() if "permissions" in told}
    assert more in ({}, {"release": {"contents": "write"}})


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_what_others_wrote_is_pinned_to_a_commit_and_no_job_runs_for_ever(name: str, job: str) -> None:
    told = WORKFLOWS[name]["jobs"][job]
    if "uses" in told:
        assert told["uses"].startswith("./")
        return
    assert told["timeout-minutes"] <= 60
    for step in steps(name, job):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"])
        if "checkout" in step.get("uses", ""):
            assert step["with"] == {"persist-credentials": False}
        # What an expression says would be run as shell; variables are not.
        assert "${{" not in step.get("run", "")


def test_every_version_of_python_that_is_promised_is_tested_by_the_one_command() -> None:
    job = WORKFLOWS["ci.yaml"]["jobs"]["check"]
    promised = {word.rpartition(" ")[2] for word in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", word)}
    assert set(job["strategy"]["matrix"]["python"]) == promised
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    command = (ROOT / ".ci" / "run").read_text()
    assert "make test" in command
    # Root in a Debian container, where it installs the tools that no wheel brings, and lets no test do without.
    assert job["container"]["image"] == "python:${{ matrix.python }}-slim"
    assert "tests.outside_tools" in command
    assert "REQUIRE_TOOLS=1" in command


def test_the_compiled_build_is_tested_and_released_for_every_version_and_both_processors() -> None:
    promised = WORKFLOWS["ci.yaml"]["jobs"]["check"]["strategy"]["matrix"]["python"]
    tested = WORKFLOWS["ci.yaml"]["jobs"]["compiled"]
    assert tested["strategy"]["matrix"]["python"] == promised
    assert tested["steps"][-1] == {"run": "make test-compiled"}
    released = WORKFLOWS["release.yaml"]["jobs"]["wheels"]
    assert released["strategy"]["matrix"] == {"runner": ["ubuntu-24.04", "ubuntu-24.04-arm"], "python": promised}
    assert {"run": "make wheels BUILD=compiled"} in released["steps"]
    merged = [step["with"] for step in steps("release.yaml", "release") if "download-artifact" in step.get("uses", "")]
    assert merged == [{"pattern": "wheel-*", "path": "dist", "merge-multiple": True}]


def test_both_commands_are_tried_on_machines_that_have_nothing_else() -> None:
    job = WORKFLOWS["ci.yaml"]["jobs"]["fresh"]
    script = (ROOT / ".ci" / "fresh_machines.py").read_text()
    suites = re.findall(r'"(\w+)"', re.findall(r"^SUITES = (.*)$", script, re.MULTILINE)[0])
    matrix = job["strategy"]["matrix"]
    assert matrix["image"] == [*(f"debian:{suite}-slim" for suite in suites), "python:3.12-slim"]
    assert matrix["user"] == ["root", "user"]
    installed = {word for step in job["steps"] for word in re.findall(r"recommends (.*)", step.get("run", ""))}
    packages = re.findall(r'"([\w-]+)"', re.findall(r"^PACKAGES = (.*)$", script, re.MULTILINE)[0])
    assert {word for line in installed for word in line.split()} == set(packages)


def test_scripts_and_files_that_workflows_name_are_there() -> None:
    said = " ".join(step.get("run", "") for name, job in JOBS for step in steps(name, job))
    for path in (".ci/run", ".ci/both_commands.py", "docker/smoke", ".github/release-notes"):
        assert path in said
        assert (ROOT / path).stat().st_mode & 0o111
    for path in ("docker/compose.yaml", "docker/Dockerfile", "deploy/kubernetes/example"):
        assert path in said
        assert (ROOT / path).exists()


def test_a_release_is_made_of_a_tag_that_has_passed() -> None:
    release = WORKFLOWS["release.yaml"]
    # YAML 1.1 reads the key `on` as true.
    assert release[True] == {"push": {"tags": ["v*"]}}
    assert release["jobs"]["release"]["needs"] == ["ci", "wheels"]
    assert release["jobs"]["image"]["needs"] == "release"


CHANGES = """\
# Changelog

## Unreleased

Later.

## [1.2.3] - 2026-11-23

- New.

## 1.2.30

- Other.
"""


@pytest.mark.parametrize(
    ("version", "tag", "code", "said"),
    [
        ("1.2.3", "v1.2.3", 0, "\n- New.\n"),
        ("1.2.30", "v1.2.30", 0, "\n- Other.\n"),
        ("1.2.3", "v1.2.4", 1, "the tag is v1.2.4, but pyproject.toml says 1.2.3\n"),
        ("2.0.0", "v2.0.0", 1, "CHANGELOG.md has no section that begins with: ## 2.0.0\n"),
    ],
)
async def test_notes_of_a_release_are_its_section_of_the_changelog(
    version: str, tag: str, code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    assert await run(GITHUB / "release-notes", tag, cwd=tmp_path) == (code, said)
