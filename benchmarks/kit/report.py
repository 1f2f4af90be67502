"""`Report`: the results of a benchmark, as the same text for a terminal and for a dated file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kit import machine


@dataclass
class Table:
    """Rows under a heading; the first column is text, the others are figures."""

    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.columns))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join(
            "| "
            + " | ".join(
                _align(cell, width, column) for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            + " |"
            for line in (lines[0], rule, *lines[1:])
        )


def _align(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)


@dataclass
class Target:
    """A bound for a figure.

    Attributes:
        text: What the figure is.
        most: The bound.
        found: The figure; None if it was not measured.
        section: Anchor in docs/benchmarks.md: where the time goes, and what was tried.
        at_least: Whether the bound is a lower one.
        digits: Of the figure, after the point.
    """

    text: str
    most: float
    found: float | None
    section: str = ""
    at_least: bool = False
    digits: int = 2

    @property
    def verdict(self) -> str:
        if self.found is None:
            return "not measured"
        met = self.found >= self.most if self.at_least else self.found <= self.most
        return "met" if met else "MISSED"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What it is, its bound, what was found, and the verdict."""
        bound = f"{'at least' if self.at_least else 'at most'} {self.most:g}"
        return self.text, bound, "" if self.found is None else f"{self.found:.{self.digits}f}", self.verdict


@dataclass(frozen=True)
class Series:
    """Figures that depend on something, for a plot."""

    title: str
    x: str
    y: str
    points: Sequence[tuple[float, float]]


@dataclass
class Report:
    """The results of a benchmark.

    Attributes:
        name: Of its file.
        question: Its heading.
        method: How it was measured, and its caveats.
        facts: Of the machine, and the versions.
        skipped: What was not compared, and why.
        failed: What broke while it was measured, or did not start, and how.
    """

    name: str
    question: str
    method: str
    facts: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)

    def __str__(self) -> str:
        targets = Table(["target", "limit", "found", ""])
        targets.rows += [target.cells for target in self.targets]
        facts = (*self.facts, *self.skipped, *self.failed)
        parts = [f"# {self.question}", "\n".join(f"* {fact}" for fact in facts), *map(str, self.tables)]
        return "\n\n".join([*parts, *([str(targets)] if self.targets else [])]) + "\n"

    def write(self, folder: Path) -> Path:
        """Write it, with its date in its name. Returns the file."""
        path = self._path(folder, "md")
        path.write_text(f"{self}\n## Method\n\n{self.method}\n")
        return path

    def write_figures(self, folder: Path) -> Path:
        """Write the series to plot. Returns the file."""
        path = self._path(folder, "json")
        path.write_text(json.dumps([vars(series) for series in self.series], indent=1) + "\n")
        return path

    def _path(self, folder: Path, kind: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{machine.today()}-{self.name}.{kind}"
