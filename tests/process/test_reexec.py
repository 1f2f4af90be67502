"""What one program leaves to the next comes through whole, or is refused."""

import json
import os
import sys
from pathlib import Path

import pytest

from gateway.process.reexec import InheritedState, InheritedWorker, ReexecError

HERE = InheritedState(
    sockets={"public 127.0.0.1 80": [3, 4]},
    tallies=[5],
    layout="a",
    lifeline=(6, 7),
    folders=["/run/x"],
    workers=[InheritedWorker(0, 4711, 1, 12.5, leaving=False)],
    rehearsal=True,
)


def test_who_takes_nobodys_place_is_left_nothing() -> None:
    assert InheritedState.received() is None


def test_a_rehearsal_receives_what_it_is_about_and_its_children_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import sys\nfrom gateway.process.reexec import InheritedState\nwith open(sys.argv[1], 'w') as said:\n"
    program += "    print(InheritedState.received(), InheritedState.received(), sep='\\n', file=said)"
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", program, str(tmp_path / "said")])
    assert HERE.rehearse().wait(20) == 0
    assert (tmp_path / "said").read_text() == f"{HERE}\nNone\n"


def test_what_a_program_of_another_form_left_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_HANDOVER", json.dumps({"form": 99, "ports": []}))
    with pytest.raises(ReexecError, match="stop that one, and start this one"):
        InheritedState.received()
    assert "GATEWAY_HANDOVER" not in os.environ
