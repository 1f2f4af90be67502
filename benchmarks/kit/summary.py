"""`summarize`: the targets of several benchmarks in one table."""

from collections.abc import Sequence

from benchmarks.kit.report import Report, Table

_PAGE = "docs/benchmarks.md"


def summarize(reports: Sequence[Report]) -> Report:
    """All targets; those that are missed with the section that has the profile and what was tried."""
    table = Table(["target", "limit", "found", "", "benchmark", "where the time goes, and what was tried"])
    summary = Report("all-targets", "All targets", "The method of each benchmark is in its own result.", tables=[table])
    for report in reports:
        for target in report.targets:
            where = f"{_PAGE}#{target.section}" if target.verdict == "MISSED" else ""
            table.rows.append((*target.cells, report.name, where))
        summary.skipped += [f"{report.name}: {line}" for line in report.skipped]
        summary.failed += [f"{report.name}: {line}" for line in report.failed]
    verdicts = [target.verdict for report in reports for target in report.targets]
    counts = (f"{verdicts.count(verdict)} {verdict}" for verdict in ("met", "MISSED", "not measured"))
    summary.facts.append(f"{len(verdicts)} targets: {', '.join(counts)}")
    return summary
