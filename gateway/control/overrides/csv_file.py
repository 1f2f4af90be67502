"""Rows of a CSV file (RFC 4180) with their places, so that an error can say where it is."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_QUOTED = frozenset(',"\r\n')


class Row(NamedTuple):
    """A row.

    Attributes:
        line: Where it begins, from 1.
        cells: Its cells.
        text: As it is written.
    """

    line: int
    cells: list[str]
    text: str

    def place(self, cell: int) -> tuple[int, int]:
        """Line and column, from 1, where a cell begins; one that is missing would begin at the end of the row."""
        line, column, left, is_quoted = self.line, 1, cell, False
        for each in self.text.rstrip("\r\n"):
            if not left:
                break
            column += 1
            if each == '"':
                is_quoted = not is_quoted
            elif each == "\n":
                line, column = line + 1, 1
            elif each == "," and not is_quoted:
                left -= 1
        return line, column


class CsvError(ValueError):
    """A file is not CSV. The message says why.

    Attributes:
        line: The line that cannot be read, from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def read_rows(text: str) -> Iterator[Row]:
    """The rows of a file; blank lines are none.

    Raises:
        CsvError: what follows is not CSV.
    """
    lines: list[str] = []

    def note() -> Iterator[str]:
        for each in io.StringIO(text, newline="\n"):
            lines.append(each)
            yield each

    reader, first = csv.reader(note(), strict=True), 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise CsvError(f"not CSV: {error}", first) from None
        if cells is None:
            return
        if cells:
            yield Row(first, cells, "".join(lines))
        first += len(lines)
        lines.clear()


def format_row(cells: Sequence[str]) -> str:
    """A row with its line break, as `read_rows` reads it."""
    return ",".join(f'"{each.replace(chr(34), chr(34) * 2)}"' if _QUOTED & set(each) else each for each in cells) + "\n"
