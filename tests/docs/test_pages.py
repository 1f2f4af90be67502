"""What the pages say is true: commands print what they show, files load."""

import re
from pathlib import Path

import pytest

from gateway.config.rule_test import RULE_TESTS
from gateway.config.rulebook import RULES
from gateway.control.overrides.csv_file import read_rows
from gateway.control.overrides.plan import COLUMNS
from gateway.limiter.buckets import BYTES_PER_BUCKET
from tests.docs.pages import PAGES, ROOT, File, blocks
from tests.docs.sections import sections_in
from tests.docs.session import Session

LANGUAGES = {
    "console",
    "sh",
    "yaml",
    "text",
    "json",
    "python",
    "lua",
    "mermaid",
    "ini",
    "nginx",
    "caddy",
    "haproxy",
    "csv",
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each_page
async def test_commands_print_what_the_page_shows_and_files_load(page: Path, tmp_path: Path) -> None:
    async with Session(tmp_path, page) as session:
        for block in blocks(page):
            assert block.language in LANGUAGES, f"{block}: name the block's language"
            await session.follow(block)


@each_page
def test_a_csv_file_on_a_page_is_one_of_overrides(page: Path) -> None:
    for block in blocks(page):
        if block.language == "csv":
            header, *rows = read_rows(block.text)
            assert {*header.cells} <= {*COLUMNS}, block
            assert {len(row.cells) for row in rows} == {len(header.cells)}, block


@each_page
def test_a_page_names_no_folder_of_one_machine(page: Path) -> None:
    assert re.search(r"/(work|root|home|Users)/", page.read_text()) is None


@each_page
def test_a_test_that_a_page_names_is_there(page: Path) -> None:
    tests = ROOT / "tests"
    for folder, name in re.findall(r"`(\w+)/(test_\w+\.py)", page.read_text()):
        assert (tests / folder / name).is_file(), f"{folder}/{name}"
    for file, name in re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)`", page.read_text()):
        assert f"def {name}(" in (tests / file).read_text(), f"{file}::{name}"


def test_every_fault_has_its_test_or_the_reason_why_not() -> None:
    rows = re.findall(r"^\| ([RUCPX]\d+) \| .* \| (.*) \|$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    assert len({fault for fault, _ in rows}) == len(rows) == 58
    for fault, held in rows:
        assert "::" in held or held.startswith("not "), fault


def test_every_key_of_the_rules_and_their_tests_is_explained() -> None:
    text = (ROOT / "docs" / "rules.md").read_text()
    for section in (*sections_in(RULES), *sections_in(RULE_TESTS)):
        for key in section.keys:
            assert f"`{key}`" in text, key


def test_the_cookbook_has_a_dozen_cases() -> None:
    page = ROOT / "docs" / "rules.md"
    cookbook = page.read_text().partition("## Cookbook")[0].count("\n")
    files = [File.of(block) for block in blocks(page) if block.language == "yaml" and block.line > cookbook]
    assert len([file for file in files if file.kind == "rules" and not file.verdict]) >= 12


def test_every_event_in_the_log_is_explained() -> None:
    told = (ROOT / "docs" / "operations.md").read_text()
    for path in (ROOT / "gateway").rglob("*.py"):
        for name in re.findall(r"\.(?:event|failure)\(\s*\"(\w+)\"", path.read_text()):
            assert f"`{name}`" in told, f"{path.name}: {name}"


def test_every_path_of_the_control_port_is_explained() -> None:
    """But for those of the API, which explains itself."""
    told = (ROOT / "docs" / "operations.md").read_text()
    for path in (ROOT / "gateway" / "control").rglob("*.py"):
        for route in re.findall(r"add_(?:get|post|put|delete|patch)\(\s*\"(/[^\"]+)\"", path.read_text()):
            assert f"`{route}`" in told or route.startswith("/api/"), f"{path.name}: {route}"


def test_every_cause_of_a_rejected_connection_is_explained() -> None:
    told = (ROOT / "docs" / "operations.md").read_text()
    for path in (ROOT / "gateway" / "proxy").rglob("*.py"):
        for call in re.findall(r"\.rejected\((.*)\)", path.read_text()):
            for cause in re.findall(r"\"(\w+)\"", call):
                assert f"`{cause}`" in told, f"{path.name}: {cause}"


def test_the_size_of_a_bucket_is_that_of_the_code() -> None:
    assert f"at most {BYTES_PER_BUCKET} bytes" in (ROOT / "docs" / "operations.md").read_text()
