"""Copies of the rule files: as many as a worker may still need, however often rules are reloaded."""

from pathlib import Path

from gateway.config.flags import Flags
from gateway.config.loader import load
from gateway.control.reload.snapshot import Snapshots


def snapshots(folder: Path) -> tuple[Snapshots, Path]:
    """Those of a file of rules, and where they are kept."""
    rules, kept = folder / "rules.yaml", folder / "kept"
    rules.write_text("limits: [{name: each, per: user, rate: 1/s}]\n")
    kept.mkdir()
    loaded = load(None, Flags(upstream="http://127.0.0.1:9", rules=str(rules)))
    return Snapshots(loaded.settings, kept, lambda: "now"), kept


def copies(kept: Path) -> set[str]:
    return {copy.name for copy in kept.glob("rules-*")}


def test_the_copy_in_force_and_the_one_before_are_kept_and_no_other(tmp_path: Path) -> None:
    """The one before may be what a worker that starts has just found to be in force."""
    taken, kept = snapshots(tmp_path)
    names = []
    for _ in range(5):
        names.append(taken.take()[0])
        taken.commit(names[-1], "cafe")
        assert copies(kept) == set(names[-2:])
        assert taken.in_force() == (names[-1], "now", "cafe")
    assert len(set(names)) == 5
    for name in names[-2:]:
        assert len(taken.read(name).rules.limits) == 1


def test_a_copy_that_is_not_taken_over_leaves_nothing_behind(tmp_path: Path) -> None:
    taken, kept = snapshots(tmp_path)
    taken.drop(taken.take()[0])
    assert list(kept.iterdir()) == []
