"""Revisions on disk: the last 50, private, replaced as a whole, and one that is damaged is named."""

import json
from pathlib import Path

import pytest

from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load
from gateway.control.errors import NoRevisionError, RevisionsUnavailableError
from gateway.control.reload.in_force import InForce, Pending, Pin
from gateway.control.reload.revisions import MOST, Revision, Revisions
from gateway.control.reload.rule_files import RuleFiles
from gateway.control.reload.start import start_in_force

FILES = RuleFiles({"rules/": b"", "rules/a.yaml": "limits: [] # \u00e9\n".encode(), "tests.yaml": b"\xff"})


def revision(number: int) -> Revision:
    return Revision(number, "2030-01-01T00:00:00Z", "ana", "127.0.0.1", f"cafe{number}", "", {}, FILES)


def loaded(folder: Path, burst: int) -> Loaded:
    rules = folder / "rules.yaml"
    rules.write_text(f"limits: [{{name: each, per: user, rate: 1/s, burst: {burst}}}]\n")
    return load(None, Flags(upstream="http://127.0.0.1:9", rules=str(rules)))


def start(folder: Path, burst: int) -> tuple[int, Revisions, list[str]]:
    """Start with a burst in the files. Returns the one in force, the revisions, and the warnings."""
    revisions, said = Revisions(folder / "state"), list[str]()
    started = start_in_force(loaded(folder, burst), revisions, said.append)
    return started.rules.limits[0].quota.burst, revisions, said


def test_a_revision_is_read_as_it_was_written_by_its_owner_alone(tmp_path: Path) -> None:
    revisions = Revisions(tmp_path)
    revisions.add(revision(1))
    assert Revisions(tmp_path).get(1) == revision(1)
    assert (tmp_path / "revisions").stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in (tmp_path / "revisions").iterdir()] == [0o600]


def test_the_last_fifty_are_kept_and_those_that_are_in_force_or_may_be(tmp_path: Path) -> None:
    revisions = Revisions(tmp_path)
    for number in (1, 2):
        revisions.add(revision(number))
    revisions.put(InForce(2, None, Pending(1, 1, "ana")))
    for number in range(3, MOST + 10):
        revisions.add(revision(number))
    assert revisions.numbers() == [*range(MOST + 9, 9, -1), 2, 1]
    assert revisions.next_number() == MOST + 10


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"sha256": "", "content": {}}', "\udcff"])
def test_a_damaged_file_is_named_and_the_others_are_of_use(tmp_path: Path, text: str) -> None:
    revisions = Revisions(tmp_path)
    for number in (1, 2):
        revisions.add(revision(number))
    (tmp_path / "revisions" / "1.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    (second, _), (first, why) = revisions.all()
    assert (second, first) == (revision(2), None)
    assert f"{tmp_path}/revisions/1.json is damaged" in why
    with pytest.raises(RevisionsUnavailableError, match=r"1\.json is damaged"):
        revisions.get(1)
    with pytest.raises(NoRevisionError, match="no revision 3"):
        revisions.get(3)


def test_a_changed_file_is_damaged(tmp_path: Path) -> None:
    revisions = Revisions(tmp_path)
    revisions.add(revision(1))
    file = tmp_path / "revisions" / "1.json"
    file.write_text(file.read_text().replace("cafe1", "cafe2"))
    with pytest.raises(RevisionsUnavailableError, match="does not match its digest"):
        revisions.get(1)


def test_what_is_in_force_is_seen_by_other_workers(tmp_path: Path) -> None:
    one, other = Revisions(tmp_path), Revisions(tmp_path)
    assert other.refresh() == InForce()
    for noted in (InForce(1, Pin("now", "ana", "why", ("a", "b"))), InForce(2, None, Pending(1, 5, "ana", ("a",)))):
        one.put(noted)
        assert other.refresh() == noted


def test_what_cannot_be_written_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "revisions").write_text("a file, where a folder should be")
    with pytest.raises(RevisionsUnavailableError, match="cannot be written"):
        Revisions(tmp_path).add(revision(1))


def test_the_rules_at_the_start_are_a_revision_if_they_differ_from_the_last(tmp_path: Path) -> None:
    for burst, number in ((5, 1), (5, 1), (6, 2), (5, 3)):
        _, revisions, said = start(tmp_path, burst)
        assert (revisions.in_force, said) == (InForce(number), [])
    assert revisions.get(3).changed["limits"]["changed"] == [
        {"name": "each", "before": {"burst": 6}, "after": {"burst": 5}}
    ]
    assert (revisions.get(1).actor, revisions.get(3).previous) == ("(start)", revisions.get(2).revision)


def test_a_start_while_pinned_has_the_revision_in_force_and_says_so(tmp_path: Path) -> None:
    _, revisions, _ = start(tmp_path, 5)
    revisions.put(InForce(1, Pin("today", "ana", "too many refusals", ("bad",))))
    burst, revisions, said = start(tmp_path, 6)
    assert burst == 5
    assert revisions.numbers() == [1]
    assert "NOT THE RULE FILES: pinned since today by ana (too many refusals)" in said[0]


def test_a_start_after_the_deadline_has_the_revision_before_in_force(tmp_path: Path) -> None:
    start(tmp_path, 5)
    _, revisions, _ = start(tmp_path, 6)
    revisions.put(InForce(2, None, Pending(1, 1, "ana")))
    burst, revisions, _ = start(tmp_path, 6)
    assert burst == 5
    pin = revisions.in_force.pin
    assert pin is not None
    assert pin.rolled_back == (revisions.get(2).revision,)
    assert start(tmp_path, 6)[0] == 5


def test_a_start_before_the_deadline_has_what_has_to_be_confirmed_in_force(tmp_path: Path) -> None:
    start(tmp_path, 5)
    _, revisions, _ = start(tmp_path, 6)
    noted = InForce(2, None, Pending(1, 1 << 60, "ana"))
    revisions.put(noted)
    burst, revisions, said = start(tmp_path, 7)
    assert (burst, revisions.in_force) == (6, noted)
    assert "has to be confirmed" in said[0]


@pytest.mark.parametrize("file", ["in-force.json", "1.json"])
def test_a_start_with_a_damaged_file_has_the_rule_files_in_force_and_says_so(tmp_path: Path, file: str) -> None:
    _, revisions, _ = start(tmp_path, 5)
    revisions.put(InForce(1, Pin("today", "ana", "why", ())))
    (tmp_path / "state" / "revisions" / file).write_text("{")
    burst, revisions, said = start(tmp_path, 6)
    assert burst == 6
    assert f"{file} is damaged" in said[0]
    assert revisions.in_force == InForce(2)
    assert json.loads((tmp_path / "state" / "revisions" / "in-force.json").read_text())["content"]["number"] == 2
