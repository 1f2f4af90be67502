"""From bytes to YAML: what is refused, and that lines and columns are those an editor shows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam
from tempfile import TemporaryDirectory

import pytest

from gateway.config.flags import Flags
from gateway.config.loader import load
from tests.config.reading import flag_problems, gateway_problems, load_rules_text, rules_problems

BAD = "limits:\n  - name: a\n    per: user\n    rate: often\n"
UPSTREAM = "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (BAD, "rules.yaml:4:11: "),
        (BAD.replace("\n", "\r\n"), "rules.yaml:4:11: "),
        (BAD.replace("\n", "\r"), "rules.yaml:4:11: "),
        ("\ufeff" + BAD, "rules.yaml:4:11: "),
        ("# äöü 漢字 🚦\n" + BAD, "rules.yaml:5:11: "),
        ('limits: [{name: a, per: user, exempt: {users: ["äöü🚦"]}, rate: often}]', "rules.yaml:1:64: "),
        ("limits:\n  - name: a\t\n    per:\tuser\n    rate:\toften\n", "rules.yaml:4:11: "),
    ],
    ids=["LF", "CRLF", "CR", "BOM", "unicode above", "unicode before", "tabs after a colon"],
)
def test_position_is_what_an_editor_shows(tmp_path: Path, text: str, place: str) -> None:
    (problem,) = rules_problems(tmp_path, text)
    assert problem.startswith(place + "limits[0].rate: 'often' is not a rate")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "rules.yaml: the file is empty"),
        (b"\xef\xbb\xbf\n \n", "rules.yaml: the file is empty"),
        (b"---\n", "rules.yaml: the file is empty"),
        (b"---\n...\n", "rules.yaml: the file is empty"),
        (b"limits: []\n# caf\xe9\n", "rules.yaml:2:6: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("limits: []\n".encode("utf-16"), "rules.yaml:1:1: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"\xef\xbb\xbfa\xff", "rules.yaml:1:2: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b"limits: [\x00]\n", "rules.yaml:1:10: the character U+0000 is not allowed in a YAML file"),
        (
            "limits: []\n# a\u2028b".encode(),
            "rules.yaml:2:4: the character U+2028 is not allowed in a YAML file",
        ),
        (
            b"limits:\n\t- name: a\n",
            "rules.yaml:2:1: not YAML: a tab, @, ` or % is not allowed here; indent with spaces, put texts in quotes",
        ),
        (
            b"limits: []\n---\nlimits: []\n",
            "rules.yaml:2:1: a second document starts here; a file holds one document, so remove the ---",
        ),
        (
            b"limits:\n  - name: a: b\n",
            "rules.yaml:2:12: not YAML: a colon is not allowed here; check the indentation, or use quotes",
        ),
        (
            b"exempt: {networks: [::1/128]}\n",
            "rules.yaml:1:21: not YAML: no value can start here; close what is open, or put the value in quotes",
        ),
        (
            b"limits: [\n\n\n",
            "rules.yaml:4:1: not YAML: no value can start here; close what is open, or put the value in quotes",
        ),
        (
            b"limits:\n  - name: a\n   per: user\n",
            (
                "rules.yaml:3:4: not YAML: while parsing a block collection, did not find expected '-' indicator; "
                "it begins on line 2"
            ),
        ),
        (b"limits: *none\n", "rules.yaml:1:9: not YAML: found undefined alias"),
        (b"limits: " + b"[" * 100_000, "rules.yaml:1:40: not YAML: nested more than 32 deep"),
        (b"limits: !!python/object:os.system []\n", None),
    ],
)
def test_what_is_not_one_yaml_document_in_utf8_is_refused(tmp_path: Path, content: bytes, problem: str | None) -> None:
    (found,) = rules_problems(tmp_path, content)
    if problem is None:
        problem = "rules.yaml:1:9: limits: tags such as 'tag:yaml.org,2002:python/object:os.system' are not supported"
    assert found == problem


@pytest.mark.parametrize(
    "content",
    ["# limits: later", "# one\n\n  # two\n", "\ufeff# one\n", "---\n# one\n", "# one\n---\n", "# one\n---\n...\n"],
)
def test_a_rules_file_with_nothing_but_comments_is_an_empty_one(tmp_path: Path, content: str) -> None:
    loaded = load_rules_text(tmp_path, content)
    assert (list(loaded.rules.endpoints), loaded.rules.limits) == (["default"], ())
    assert [str(each) for each in loaded.warnings] == [f"{tmp_path}/rules.yaml: the file has nothing but comments"]
    assert loaded.rules.revision


def test_one_file_of_a_folder_may_have_nothing_but_comments(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# Nothing yet.\n")
    (tmp_path / "b.yaml").write_text("limits: [{name: a, per: user, rate: 1/s}]\n")
    loaded = load(None, Flags(upstream=UPSTREAM, rules=str(tmp_path)))
    assert [limit.name for limit in loaded.rules.limits] == ["a"]


def test_gateway_yaml_with_nothing_but_comments_is_refused(tmp_path: Path) -> None:
    assert gateway_problems(tmp_path, "# later\n", upstreams="")[0] == "gateway.yaml: the file is empty"


def test_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as stream:
        stream.truncate(65 << 20)
    assert flag_problems(Flags(upstream=UPSTREAM, rules=str(file))) == [f"{file}: the file is larger than 64 MiB"]


def test_folder_in_place_of_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "rules" / "a.yaml").mkdir(parents=True)
    assert flag_problems(Flags(upstream=UPSTREAM, rules=str(tmp_path / "rules"))) == [
        f"{tmp_path}/rules/a.yaml: cannot be read: Is a directory"
    ]


@contextmanager
def not_root() -> Iterator[None]:
    """Be nobody if root runs the tests: root reads everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(before)


def test_file_that_may_not_be_read_is_a_problem() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "secret.yaml"
        file.touch(mode=0)
        with not_root():
            problems = flag_problems(Flags(upstream=UPSTREAM, rules=str(file)))
    assert problems == [f"{file}: cannot be read: Permission denied"]


def test_alias_repeats_a_value(tmp_path: Path) -> None:
    loaded = load_rules_text(
        tmp_path,
        "limits:\n"
        "  - {name: a, per: user, rate: 1/s, tiers: &plans {gold: {rate: 9/s}}}\n"
        "  - {name: b, per: user, rate: 2/s, tiers: *plans}\n",
    )
    assert loaded.rules.limits[0].tiers == loaded.rules.limits[1].tiers != {}


def test_alias_that_holds_itself_is_only_a_value_of_the_wrong_kind(tmp_path: Path) -> None:
    assert rules_problems(tmp_path, "limits: &a [*a]\n") == [
        (
            "rules.yaml:1:9: limits[0]: expected a mapping of keys to values, found a list; its keys are "
            "at_once, burst, "
            "candidate, endpoints, enforce, exempt, from_claim, "
            "from_day, if_missing, name, over, per, quota, rate, reserve, "
            "schedule, tiers, "
            "when_redis_is_down, zone"
        )
    ]


@pytest.mark.untraced
def test_aliases_that_blow_up_are_refused(tmp_path: Path) -> None:
    users = ", ".join(f"u{number}" for number in range(3_000))
    first = f"limits:\n  - {{name: l, per: user, rate: 1/s, exempt: {{users: &all [{users}]}}}}\n"
    more = "  - {name: m, per: user, rate: 1/s, exempt: {users: *all}}\n" * 400
    problems = rules_problems(tmp_path, first + more)
    assert problems[0].endswith("aliases make this file too large: it expands to millions of values")
