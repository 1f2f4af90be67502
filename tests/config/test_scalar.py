"""Texts, names and booleans: what is read, and what is not."""

import pytest

from gateway.config import scalar
from gateway.config.diagnostic import InvalidError
from tests.config.reading import read


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_yes_or_no_is_true_or_false(text: str, value: bool) -> None:
    assert read(scalar.boolean, text) is value


@pytest.mark.parametrize("text", ["yes", "no", "on", "off", "True", "FALSE", "1", "0", "y", "~", "''"])
def test_other_words_for_yes_and_no_are_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        read(scalar.boolean, text)


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
