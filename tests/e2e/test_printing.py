"""What commands print reaches any terminal: one that has ASCII only, one that is gone, one that is full."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.kit.process import ROOT

COMMANDS = [
    [],
    ["serve"],
    ["check"],
    ["schema"],
    ["token"],
    ["audit"],
    ["report"],
    ["caller", "ana"],
    ["demo"],
    ["completion"],
]
TERMINALS = [
    {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "POSIX"},
    {"LC_ALL": "C.UTF-8"},
]
RULES = """
endpoints: [{name: e, path: /e}]
limits:
  - {name: everyone, per: user, rate: 60/minute, tiers: {gr\u00f6\u00dfe \u2603: {rate: 9/s}}}
"""


def command(*arguments: str | bytes, env: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    whole = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(whole, cwd=ROOT, env=env, capture_output=True, check=False)


def check(folder: Path, rules: str) -> list[str]:
    (folder / "rules.yaml").write_text(rules)
    return ["check", "--upstream", "http://127.0.0.1:9", "--rules", str(folder / "rules.yaml")]


@pytest.mark.parametrize("terminal", TERMINALS, ids=str)
def test_check_prints_what_the_terminal_can_show_and_escapes_the_rest(tmp_path: Path, terminal: dict[str, str]) -> None:
    done = command(*check(tmp_path, RULES), env=terminal)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"  tier gr" in done.stdout
    assert "gr\u00f6\u00dfe \u2603".encode() in done.stdout or rb"gr\xf6\xdfe \u2603" in done.stdout


@pytest.mark.parametrize("terminal", TERMINALS, ids=str)
def test_problems_are_printed_too(tmp_path: Path, terminal: dict[str, str]) -> None:
    done = command(*check(tmp_path, RULES.replace("9/s", "\u221e/s")), env=terminal)
    assert done.returncode == 2
    assert done.stderr.endswith(b"1 problem; nothing was done\n")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_help_is_printed_on_an_ascii_terminal(arguments: list[str]) -> None:
    done = command(*arguments, "--help", env=TERMINALS[0])
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"usage: gateway")


def test_a_name_that_is_no_utf8_is_escaped(tmp_path: Path) -> None:
    done = command("check", "--upstream", "http://127.0.0.1:9", "--rules", str(tmp_path).encode() + b"/\xff", env={})
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    shell = f'{sys.executable} -m gateway "$@" | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", shell, "bash", *check(tmp_path, RULES)], cwd=ROOT, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")


@pytest.mark.parametrize(
    "arguments",
    [*([*each, "--help"] for each in COMMANDS), ["--version"], ["schema"], ["schema", "rules"], ["caller", "ana"],
     ["audit", "show", "--help"], ["check", "--upstream", "http://127.0.0.1:9", "--rules", "config/rules"]],
    ids=" ".join,
)  # fmt: skip
def test_no_command_complains_of_a_pipe_that_nobody_reads(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *check(tmp_path, RULES)],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"gateway: the output cannot be written: No space left on device\n"


def test_nobody_reading_errors_changes_no_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *check(tmp_path, "limits: no\n")], cwd=ROOT, stderr=full, check=False
        )
    assert done.returncode == 2
