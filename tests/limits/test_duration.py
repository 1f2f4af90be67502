"""Durations as operators write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.duration import LONGEST, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1 m", 60), ("24h", 86_400), ("366d", LONGEST), ("7", 7), ("0.25", 0.25), ("0s", 0)],
)
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1:30", "1w", "2 minutes", "1h30m", " 1s", "1s ", "5M", "367d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|out of range"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "unit"), [("1w", "w"), ("2 minutes", "minutes"), ("5M", "M")])
def test_a_wrong_unit_is_named_with_the_units_that_exist(text: str, unit: str) -> None:
    with pytest.raises(ValueError, match=f"because '{unit}' is not a unit; the units are ms, s, m, h, d"):
        parse_duration(text)


@given(st.integers(0, LONGEST))
def test_what_is_shown_is_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
