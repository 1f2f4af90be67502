"""`Diagnostic`: what is wrong in a file, where, and how to fix it; `Findings` collects them.

A value that cannot be used is noted and left out, and reading continues, so that one run reports everything.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

_MAX_COMPARED = 20_000
"""Words compared in one run to find the nearest: a few seconds' worth."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing that is wrong or, as a warning, that may surprise.

    Attributes:
        file: As the operator named it; or a flag, such as ``--listen``.
        line: From 1; 0 if it is about the whole file or a flag.
        column: From 1, in characters.
        path: Where in the file's structure, such as ``limits[3].rate``; the first item of a list is 0.
        message: What is wrong, and what to write instead.
        hint: The nearest valid value; empty if none is near.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f"{self.path}: " if self.path else ""
        hint = f" (did you mean {self.hint}?)" if self.hint else ""
        return f"{place}: {path}{self.message}{hint}"


class ConfigError(Exception):
    """The configuration cannot be used.

    Attributes:
        problems: All of them, in the order of files and lines.
    """

    def __init__(self, problems: Iterable[Diagnostic]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class InvalidError(Exception):
    """A value cannot be used; why has been noted in the findings."""


@dataclass(slots=True)
class Findings:
    """The problems and warnings found while reading."""

    problems: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)
    _compared: int = 0

    def nearest(self, word: str, words: Collection[str]) -> str:
        """The one of `words` that `word` is most likely a misspelling of; empty if none is near."""
        self._compared += len(words)
        if self._compared > _MAX_COMPARED:
            return ""
        return next(iter(get_close_matches(word[:64], words, 1)), "")

    def result(self) -> tuple[Diagnostic, ...]:
        """The warnings.

        Raises:
            ConfigError: there are problems.
        """
        if self.problems:
            raise ConfigError(sorted(self.problems, key=_place))
        return tuple(sorted(self.warnings, key=_place))


def _place(problem: Diagnostic) -> tuple[str, int, int]:
    return problem.file, problem.line, problem.column
