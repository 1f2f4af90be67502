"""What one program hands to the next arrives whole, or is refused."""

import json
import os
import sys
from pathlib import Path

import pytest

from gateway.process.reexec import InheritedState, InheritedWorker, ReexecError

HERE = InheritedState(
    sockets={"public 127.0.0.1 80": [3, 4]},
    counters=[5],
    counters_layout="a",
    lifeline=(6, 7),
    folders=["/run/x"],
    workers=[InheritedWorker(0, 4711, 1, 12.5, retiring=False)],
    dry_run=True,
)


def test_a_program_that_replaces_no_other_inherits_nothing() -> None:
    assert InheritedState.from_environment() is None


def test_a_dry_run_inherits_the_state_and_its_children_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import sys\nfrom gateway.process.reexec import InheritedState\nwith open(sys.argv[1], 'w') as said:\n"
    program += "    print(InheritedState.from_environment(), InheritedState.from_environment(), sep='\\n', file=said)"
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", program, str(tmp_path / "said")])
    assert HERE.start_dry_run().wait(20) == 0
    assert (tmp_path / "said").read_text() == f"{HERE}\nNone\n"


def test_a_script_is_run_by_the_interpreter_that_it_names_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade, when the link to the environment leads to another one."""
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        script = tmp_path / version / "gateway"
        script.write_text(f'#!/bin/sh\n# {version}\necho {version} "$@" > {tmp_path}/said\n')
        script.chmod(0o755)
    link = tmp_path / "current"
    link.symlink_to("old")
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, str(link / "gateway"), "serve", "--config", "x"])
    assert HERE.start_dry_run().wait(20) == 0
    assert (tmp_path / "said").read_text() == "old serve --config x\n"
    link.unlink()
    link.symlink_to("new")
    assert HERE.start_dry_run().wait(20) == 0
    assert (tmp_path / "said").read_text() == "new serve --config x\n"


def test_state_in_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_INHERITED_STATE", json.dumps({"format": 99, "ports": []}))
    with pytest.raises(ReexecError, match="stop that one, then start this"):
        InheritedState.from_environment()
    assert "GATEWAY_INHERITED_STATE" not in os.environ
