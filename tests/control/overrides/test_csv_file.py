"""CSV: what was written is read, and each cell knows its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.overrides.csv_file import CsvError, Row, format_row, read_rows

CELLS = st.text(st.sampled_from('ab ,"\r\n\u2028\u00e9\x00'), max_size=5) | st.text(max_size=5)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=4))
def test_what_was_written_is_read(rows: list[list[str]]) -> None:
    text = "".join(map(format_row, rows))
    assert [row.cells for row in read_rows(text)] == rows


@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=1, max_size=3))
def test_a_cell_begins_at_its_place(rows: list[list[str]]) -> None:
    text = "".join(map(format_row, rows))
    lines = text.split("\n")
    for row in read_rows(text):
        for number, cell in enumerate(row.cells):
            line, column = row.place(number)
            rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
            assert rest.startswith(format_row([cell, ""])[:-2])
            assert not number or lines[line - 1][column - 2] == ","


def test_lines_are_counted_and_blank_ones_are_no_rows() -> None:
    rows = list(read_rows('a,b\r\n\n"c\nd",e\nf,g'))
    assert [(row.line, row.cells) for row in rows] == [(1, ["a", "b"]), (3, ["c\nd", "e"]), (5, ["f", "g"])]
    assert rows[1].place(1) == (4, 4)
    assert Row(7, ["a"], "a\r\n").place(3) == (7, 2)


@pytest.mark.parametrize("bad", ['x,"y" z', 'x,"y', "x," + "y" * 200_000])
def test_what_is_not_csv_is_an_error_with_its_line(bad: str) -> None:
    rows = read_rows(f"a,b\n{bad}\n")
    assert next(rows).cells == ["a", "b"]
    with pytest.raises(CsvError, match=r"^not CSV: ") as error:
        next(rows)
    assert error.value.line == 2
