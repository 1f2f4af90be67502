"""The scripts of `gateway completion`, in the shells they are for."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.commands.cli import main
from tests.waiting import DEADLINE

BASH = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_gateway
printf '%s\n' "${COMPREPLY[@]}"
"""
ZSH = r"""
compdef() { }
_describe() { [[ $1 = -o ]] && shift; printf '%s\n' "${(@)${(P)2}%%:*}"; }
_files() { print FILES; }
source "$1"; shift
words=("$@"); CURRENT=$#
_gateway
"""
FISH = "source $argv[1]; complete -C (string join ' ' -- $argv[2..-1])"
SHELLS = [
    "bash",
    pytest.param("zsh", marks=pytest.mark.needs("zsh")),
    pytest.param("fish", marks=pytest.mark.needs("fish")),
]


def completions(folder: Path, shell: str, capsys: pytest.CaptureFixture[str], *words: str) -> set[str]:
    """What the shell offers for the last word."""
    assert main(["completion", shell]) == 0
    script = folder / f"completion.{shell}"
    script.write_text(capsys.readouterr().out)
    program = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell]
    first = [shutil.which(shell) or shell, *(["-f"] if shell == "zsh" else []), "-c", program]
    given = [*([] if shell == "fish" else [shell]), str(script), "gateway", *words]
    done = subprocess.run(
        [*first, *given], cwd=folder, capture_output=True, text=True, check=False, timeout=DEADLINE,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.stderr == ""
    found = {line.split("\t")[0] for line in done.stdout.splitlines()}
    last = words[-1]
    return {each for each in found if each.startswith(last)}


@pytest.mark.parametrize("shell", SHELLS)
def test_commands_flags_and_values_are_completed_at_each_level(
    tmp_path: Path, shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def offered(*words: str) -> set[str]:
        return completions(tmp_path, shell, capsys, *words)

    assert offered("re") == {"reload", "replay", "report", "revisions"}
    assert offered("override", "") >= {"set", "list", "rm"}
    assert offered("overrides", "") >= {"apply", "dump"}
    assert offered("override", "set", "ana", "--ex") == {"--exempt"}
    assert offered("reload", "--dry-run", "--fl") == {"--fleet"}
    assert offered("check", "--on") == {"--online"}
    assert "--fleet" not in offered("check", "--")
    assert offered("completion", "fi") == {"fish"}
    assert offered("token", "keygen", "--algorithm", "ES") == {"ES256", "ES384", "ES512"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_flag_that_takes_another_value_gets_no_commands(
    tmp_path: Path, shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completions(tmp_path, shell, capsys, "override", "set", "--rate", "s") == set()


@pytest.mark.parametrize("shell", [each for each in SHELLS if each != "bash"])
def test_a_flag_that_takes_a_file_gets_files(tmp_path: Path, shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "FILES").write_text("")
    assert completions(tmp_path, shell, capsys, "check", "--config", "FI") == {"FILES"}
    assert completions(tmp_path, shell, capsys, "audit", "verify", "FI") == {"FILES"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_valid(tmp_path: Path, shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True, timeout=DEADLINE)
