"""Single values: what is read, and what is not."""

from pathlib import Path

import pytest
import yaml

from gateway.config import scalar
from gateway.config.node import Node
from gateway.config.problem import InvalidError, Log
from gateway.config.scalar import Reader
from gateway.config.source import Source


def read(reader: Reader, text: str) -> object:
    source = Source("test.yaml", Path("conf"), Log())
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None
    return reader(Node(source, node))


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
    ],
)
def test_duration_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert read(scalar.seconds(), text) == seconds


@pytest.mark.parametrize("text", ["0", "0ms", "-1s", "1:30", ".inf", "1e3", "367d", "2 weeks", "5M", "1_000", "''"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(scalar.seconds(), text)


def test_duration_may_be_zero_where_that_means_something() -> None:
    assert read(scalar.seconds(zero=True), "0") == 0.0


@pytest.mark.parametrize(("text", "size"), [("8190", 8190), ("64KiB", 65536), ("1 MiB", 1 << 20), ("2GiB", 2 << 30)])
def test_size_counts_in_steps_of_1024(text: str, size: int) -> None:
    assert read(scalar.size, text) == size


@pytest.mark.parametrize("text", ["64KB", "64k", "0", "1.5MiB", "'64KiB'", "1_024"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(scalar.size, text)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_yes_or_no_is_true_or_false(text: str, value: bool) -> None:
    assert read(scalar.boolean, text) is value


@pytest.mark.parametrize("text", ["yes", "no", "on", "off", "True", "FALSE", "1", "0", "y", "~", "''"])
def test_other_words_for_yes_and_no_are_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(scalar.boolean, text)


@pytest.mark.parametrize(
    ("text", "value"), [("true", 1.0), ("false", 0.0), ("0", 0.0), ("1", 1.0), ("0.01", 0.01), ("1.0", 1.0)]
)
def test_a_share_is_all_or_nothing_or_a_number_between(text: str, value: float) -> None:
    assert read(scalar.share, text) == value


@pytest.mark.parametrize("text", ["yes", "1%", "1.1", "-0.1", ".5", "1e-3", "'0.5'", "2", "00.1", "~"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(scalar.share, text)


@pytest.mark.parametrize("text", ["''", "' a'", '"a\\n"', '"\\x07"', "|\n  a\n  b\n", "x" * 1025])
def test_text_is_one_line_without_blanks_around_it(text: str) -> None:
    with pytest.raises(InvalidError):
        read(scalar.text, text)


@pytest.mark.parametrize("text", ["a", "0", "orders-each", "a_b", "9" * 64])
def test_name_is_a_label_and_part_of_a_key(text: str) -> None:
    assert read(scalar.name, text) == text


@pytest.mark.parametrize("text", ["-a", "_a", "A", "a b", "a:b", "é", "x" * 65])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(scalar.name, text)


@pytest.mark.parametrize("text", ["X User", "X:User", "Ü"])
def test_what_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(scalar.header, text)


def test_path_is_relative_to_the_file_that_names_it() -> None:
    assert read(scalar.path, "rules") == Path("conf/rules")
    assert read(scalar.path, "/etc/rules") == Path("/etc/rules")
