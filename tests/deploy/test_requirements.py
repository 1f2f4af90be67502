"""`requirements/`: what `make` installs, pinned."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.kit.process import ROOT

FILES = {file.stem: file.read_text() for file in (ROOT / "requirements").glob("*.txt")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()


def pins(name: str) -> set[str]:
    """Names and versions, one for each Python if they differ."""
    return set(re.findall(r"^([\w.-]+==[\w.]+)", FILES[name], re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {Requirement(it).name for it in requirements}


@pytest.mark.parametrize("name", FILES)
def test_each_pin_has_a_hash_and_no_registry_is_named(name: str) -> None:
    entries = re.split(r"^(?=\w)", FILES[name], flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.]+ ", entry)
        assert "--hash=sha256:" in entry
    assert "://" not in FILES[name]
    assert "--index" not in FILES[name]


def test_what_running_takes_has_the_dependencies_and_none_of_the_tools() -> None:
    run = {pin.partition("==")[0] for pin in pins("run")}
    assert names(PROJECT["dependencies"]) <= run
    assert not names(PROJECT["optional-dependencies"]["dev"]) & run


def test_what_was_tested_is_what_runs_and_what_is_shipped() -> None:
    assert pins("run") <= pins("image") <= pins("test")


def test_make_installs_by_hash_and_pins_every_file() -> None:
    for name in FILES:
        assert f"--output-file requirements/{name}.txt" in MAKEFILE
    installing = re.findall(r"^INSTALL(?:_ALL)? := (.*)", MAKEFILE, re.MULTILINE)
    assert all("--require-hashes" in it or it.startswith("$(INSTALL) ") for it in installing)
    by_hand = [line for line in MAKEFILE.splitlines() if "pip install" in line and not line.startswith("INSTALL")]
    checked = ("--require-hashes", "--no-index", "--no-deps --no-build-isolation --editable .")
    assert all(any(flag in line for flag in checked) for line in by_hand)
