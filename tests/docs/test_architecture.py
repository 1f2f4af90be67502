"""docs/architecture.md walks through the code by name: every name is in the file that the page says."""

import re

import pytest

from tests.kit.process import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PLACES = sorted(set(re.findall(r"`([A-Za-z_.]+)`\s+\(`([a-z_/]+\.(?:py|lua))`", PAGE)))


def test_the_page_names_many_places() -> None:
    assert len(PLACES) > 30


@pytest.mark.parametrize(("name", "file"), PLACES)
def test_a_name_is_in_the_file_that_the_page_says(name: str, file: str) -> None:
    text = (ROOT / "gateway" / file).read_text()
    assert all(re.search(rf"\b{part}\b", text) for part in name.split("."))
