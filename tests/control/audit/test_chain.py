"""The chain: whatever is done to the lines, it shows."""

import json
from pathlib import Path
from shutil import copyfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.audit.chain import verify_chain
from gateway.control.audit.entry import BrokenChainError, Entry, Link, read_line, seal
from gateway.control.audit.log_file import AuditLog, AuditLogError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def chain(count: int, log: str = "a") -> list[bytes]:
    lines, end = [], Link(log)
    for number in range(count):
        line, end = seal(end, Entry("reset", f"user {number}", "ana", after={"n": number}), time="t", rules="r")
        lines.append(line)
    return lines


LINES = chain(5)


@given(st.text(), JSON, JSON)
def test_whatever_is_written_is_one_line_that_holds(reason: str, before: object, after: object) -> None:
    line, end = seal(Link("a"), Entry("x", before=before, after=after, reason=reason), time="t", rules="r")
    assert line.count(b"\n") == 1
    assert line.isascii()
    record, link = read_line(line)
    assert (record["reason"], record["before"], record["after"]) == (reason, before, after)
    assert link == end == verify_chain([line])


@given(st.integers(0, sum(map(len, LINES)) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_found(place: int, flip: int) -> None:
    text = bytearray(b"".join(LINES))
    text[place] ^= flip
    with pytest.raises(BrokenChainError):
        verify_chain(bytes(text).splitlines(keepends=True))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            LINES[:1] + LINES[2:],
            "the line after sequence 1: its sequence is 3; lines are missing, added or out of order",
        ),
        ([LINES[0], LINES[2], LINES[1], *LINES[3:]], "the line after sequence 1: its sequence is 3"),
        ([*LINES[:2], LINES[1], *LINES[2:]], "the line after sequence 2: its sequence is 2"),
        ([*LINES[:2], *chain(3, "b")[2:]], "the line belongs to another log"),
        ([*LINES[:3], chain(4, "a")[3].replace(b"user 3", b"user 9")], "the line was changed"),
        ([*LINES[:3], b"{}\n"], "the line is not complete"),
        ([*LINES[:3], b"\n"], "the line is not complete"),
        ([*LINES[:3], LINES[3].rstrip()], "the line is not complete"),
    ],
)
def test_lines_missing_added_or_moved_are_found(lines: list[bytes], said: str) -> None:
    with pytest.raises(BrokenChainError, match=said):
        verify_chain(lines)


def test_a_well_forged_line_does_not_match_the_one_before() -> None:
    forged, _ = seal(Link("a", 3, "0" * 64), Entry("reset"), time="t", rules="r")
    with pytest.raises(BrokenChainError, match="the hash of the line before does not match"):
        verify_chain([*LINES[:3], forged])


def test_a_chain_may_begin_after_archived_files() -> None:
    end = verify_chain(LINES[2:])
    assert end is not None
    assert end.sequence == 5


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "state" / "audit.jsonl", clock=lambda: "t")


def test_only_its_owner_can_read_a_log(log: AuditLog) -> None:
    log.append(Entry("reset"), "r")
    assert log.file.stat().st_mode & 0o077 == 0
    assert log.file.parent.stat().st_mode & 0o077 == 0


def test_rotation_keeps_the_chain(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", 1000)
    for number in range(20):
        log.append(Entry("reset", str(number)), "r")
    assert len(log.files()) > 5
    end = verify_chain(log.lines())
    assert end is not None
    assert end.sequence == 20
    assert [each["target"] for each in log.page(7, 4)] == ["7", "8", "9", "10"]
    log.files()[2].unlink()
    with pytest.raises(BrokenChainError, match="missing"):
        verify_chain(log.lines())


def test_a_crash_between_two_files_does_not_break_the_chain(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    first = log.append(Entry("reset"), "r")
    log.file.rename(f"{log.file}.{first.sequence:012}")
    assert log.append(Entry("reset"), "r").sequence == 2
    assert verify_chain(log.lines()) is not None


@pytest.mark.parametrize("cut", [1, 2, 40, 150])
def test_a_line_cut_off_by_a_crash_is_removed_and_that_is_recorded(log: AuditLog, cut: int) -> None:
    for _ in range(3):
        log.append(Entry("reset"), "r")
    whole = log.file.read_bytes()
    log.file.write_bytes(whole[:-cut])
    with pytest.raises(BrokenChainError):
        verify_chain(log.lines())
    end = log.append(Entry("reset", "after"), "r")
    assert verify_chain(log.lines()) == end
    assert [each["action"] for each in log.page(0, 9)] == ["reset", "reset", "audit.repaired", "reset"]


def test_nothing_is_appended_to_a_damaged_log(log: AuditLog) -> None:
    log.append(Entry("reset"), "r")
    log.file.write_bytes(log.file.read_bytes().replace(b"reset", b"RESET"))
    before = log.file.read_bytes()
    with pytest.raises(AuditLogError, match="damaged: the line was changed"):
        log.append(Entry("reset"), "r")
    assert log.file.read_bytes() == before


def test_a_start_is_noted_when_rules_differ_from_the_last_run(log: AuditLog) -> None:
    for revision in ("a", "a", "b", "b"):
        log.begin(revision)
    found = [(each["action"], each["before"], each["after"]) for each in log.page(0, 9)]
    assert found == [("start", "", "a"), ("start", "a", "b")]


def test_a_line_is_json_that_any_program_reads(log: AuditLog) -> None:
    log.append(Entry("override.set", "user 1", "ana", "j", "192.0.2.1", None, {"rate": "1/s"}, "why"), "r1")
    (line,) = log.file.read_text().splitlines()
    assert list(json.loads(line)) == [
        "log", "sequence", "time", "actor", "jti", "source", "action", "target",
        "before", "after", "reason", "rules", "previous", "hash",
    ]  # fmt: skip


def test_a_log_that_an_earlier_version_wrote_is_verified_and_continued(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    copyfile(Path(__file__).with_name("written_before.jsonl"), file)
    log = AuditLog(file)
    assert log.append(Entry("reset"), "r").sequence == 5
    end = verify_chain(log.lines())
    assert end is not None
    assert (end.log, end.sequence) == ("5f2ab1c09d3e4f60", 5)


KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def keyed(path: Path, key: bytes | None = KEY) -> AuditLog:
    return AuditLog(path / "audit.jsonl", key=key, clock=lambda: "t")


def rewrite(lines: list[bytes], key: bytes | None) -> list[bytes]:
    """The lines as somebody would forge them: another actor, and all hashes computed anew."""
    records = [json.loads(line) for line in lines]
    forged, end = [], Link(records[0]["log"])
    for record in records:
        entry = Entry(record["action"], record["target"], "mallory")
        line, end = seal(end, entry, time=record["time"], rules=record["rules"], key=key)
        forged.append(line)
    return forged


@given(st.integers(0, 4), st.booleans())
def test_hashes_computed_anew_are_found_with_the_key(first_keyed: int, with_a_key: bool) -> None:
    lines, end = [], Link("a")
    for number in range(5):
        key = KEY if number >= first_keyed else None
        line, end = seal(end, Entry("reset", str(number)), time="t", rules="r", key=key)
        lines.append(line)
    assert verify_chain(lines, [OTHER_KEY, KEY]) == verify_chain(lines) == end
    forged = rewrite(lines, OTHER_KEY if with_a_key else None)
    for count in range(1, 6):
        mixed = forged[:count] + lines[count:]
        try:
            found = verify_chain(mixed, [KEY])
        except BrokenChainError:
            continue
        assert count == 5, "a forged beginning does not fit what follows"
        assert found is not None
        assert not found.is_keyed, "and a forged whole shows that it has no key"


def test_a_line_without_a_key_after_one_with_a_key_is_found_even_without_it() -> None:
    first, end = seal(Link("a"), Entry("reset"), time="t", rules="r", key=KEY)
    second, _ = seal(end, Entry("reset"), time="t", rules="r")
    with pytest.raises(BrokenChainError, match="written without a key, but the line before with one"):
        verify_chain([first, second])


def test_a_key_that_is_added_changed_or_removed_is_recorded_once(tmp_path: Path) -> None:
    for key in (None, KEY, KEY, OTHER_KEY, None):
        keyed(tmp_path, key).append(Entry("reset"), "r")
    reasons = [each["reason"] for each in keyed(tmp_path).page(0, 99) if each["action"] == "audit.key"]
    assert reasons == [
        "line 1 was written without a key",
        "line 4 was written with another key, or changed since",
        "line 6 was written with another key, or changed since",
    ]
    lines = list(keyed(tmp_path).lines())
    assert verify_chain(lines[:6], [KEY, OTHER_KEY]) is not None
    with pytest.raises(BrokenChainError, match="the line after sequence 4: the line was changed, or"):
        verify_chain(lines[:6], [KEY])


def test_a_gateway_that_starts_with_a_new_key_records_it_at_once(tmp_path: Path) -> None:
    keyed(tmp_path, None).begin("r")
    for _ in range(2):
        keyed(tmp_path).begin("r")
    assert [each["action"] for each in keyed(tmp_path).page(0, 9)] == ["start", "audit.key"]
    end = verify_chain(keyed(tmp_path).lines(), [KEY])
    assert end is not None
    assert end.is_keyed
