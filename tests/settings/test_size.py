"""Sizes as operators write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings.size import format_size, parse_size


@pytest.mark.parametrize(("text", "size"), [("8190", 8190), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("2GiB", 1 << 31)])
def test_a_size_counts_in_steps_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "64KB", "64k", "1.5MiB", "1_024", "01", "KiB"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(("text", "unit"), [("64KB", "KB"), ("64k", "k")])
def test_a_wrong_unit_is_named_with_the_units_that_exist(text: str, unit: str) -> None:
    with pytest.raises(ValueError, match=f"because '{unit}' is not a unit; the units are B, KiB, MiB, GiB"):
        parse_size(text)


@given(st.integers(1, 1 << 33))
def test_what_is_shown_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size
