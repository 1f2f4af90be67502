"""Numbers, durations and sizes: what is read, and what is not."""

import pytest

from gateway.config import number
from gateway.config.diagnostic import InvalidError
from tests.config.reading import read


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2s", 2.0),
        ("500ms", 0.5),
        ("1m", 60.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("3", 3.0),
        ("0.25", 0.25),
        ("'2 s'", 2.0),
        ("'3'", 3.0),
    ],
)
def test_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert read(number.seconds(), text) == seconds


@pytest.mark.parametrize("text", ["0", "0ms", "-1s", "1:30", ".inf", "1e3", "367d", "2 weeks", "5M", "1_000", "''"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(number.seconds(), text)


def test_duration_may_be_zero_where_that_means_something() -> None:
    assert read(number.seconds(zero=True), "0") == 0.0


@pytest.mark.parametrize(
    ("text", "size"),
    [("8190", 8190), ("64KiB", 65536), ("1 MiB", 1 << 20), ("2GiB", 2 << 30), ("'64KiB'", 65536), ('"8190"', 8190)],
)
def test_size_counts_in_steps_of_1024(text: str, size: int) -> None:
    assert read(number.size, text) == size


@pytest.mark.parametrize("text", ["64KB", "64k", "0", "1.5MiB", "'64KB'", "1_024", "''", "' 64KiB'", "[64KiB]"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(number.size, text)


@pytest.mark.parametrize(
    ("text", "value"), [("true", 1.0), ("false", 0.0), ("0", 0.0), ("1", 1.0), ("0.01", 0.01), ("1.0", 1.0)]
)
def test_a_share_is_all_or_nothing_or_a_number_between(text: str, value: float) -> None:
    assert read(number.share, text) == value


@pytest.mark.parametrize("text", ["yes", "1%", "1.1", "-0.1", ".5", "1e-3", "'0.5'", "2", "00.1", "~"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(number.share, text)
