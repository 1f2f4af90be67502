"""A `Report` as text: tables for a terminal, and JSON for programs."""

import json
from collections.abc import Iterable

from gateway.analytics.batch import format_minute
from gateway.analytics.report import OUTCOMES, CallerRow, Report

LIMITS = ("LIMIT", "ENDPOINT", "TIER", "ALLOWED", "REFUSED", "WOULD REFUSE", "UNAVAILABLE", "SHARE")
CALLERS = ("LIMIT", "CALLER", "REFUSED")
NUMBERS = frozenset(LIMITS[3:])
"""Columns that are aligned to the right; the `REFUSED` of callers is not, since it may be a range."""


def as_text(report: Report) -> str:
    """The report as tables."""
    parts = [heading(report)]
    if report.caller is not None:
        parts.append(f"caller {report.caller}")
    elif report.limits:
        parts.append(_table(LIMITS, limit_rows(report)))
    if report.callers:
        parts.append(_table(CALLERS, caller_rows(report)))
    elif report.limits:
        parts.append(
            "Nobody was refused." if report.caller is None else "This caller is not among those that were refused most."
        )
    if report.unreadable:
        parts.append(f"{report.unreadable} lines could not be parsed and are left out.")
    return "\n\n".join(parts)


def as_json(report: Report) -> str:
    """The report as JSON."""
    document = {
        "since": format_minute(report.period.since),
        "until": format_minute(report.period.until),
        "requests": {outcome: report.requests.get(outcome, 0) for outcome in OUTCOMES if outcome != "shadow_refused"},
        "limits": [
            {
                "limit": row.limit,
                "endpoint": row.endpoint,
                "tier": row.tier or None,
                **{outcome: row.counts.get(outcome, 0) for outcome in OUTCOMES},
            }
            for row in report.limits
        ],
        "callers": [
            {"limit": row.limit, "caller": row.caller or None, "refused_at_least": row.at_least, "at_most": row.at_most}
            for row in report.callers
        ],
        "caller": report.caller,
        "unreadable": report.unreadable,
    }
    return json.dumps(document, indent=2)


def heading(report: Report) -> str:
    """The period, and how many requests were refused in it."""
    total, refused = sum(report.requests.values()), report.requests.get("refused", 0)
    since, until = format_minute(report.period.since), format_minute(report.period.until)
    summary = f"{total} requests decided, {refused} refused ({refused / total:.1%})" if total else "no requests decided"
    return f"{since} to {until}: {summary}\nfrom {report.source}"


def limit_rows(report: Report) -> Iterable[tuple[str, ...]]:
    """The decisions of limits, as cells under `LIMITS`."""
    for row in report.limits:
        counts = [str(row.counts.get(outcome, 0)) for outcome in OUTCOMES]
        yield (row.limit, row.endpoint, row.tier or "-", *counts, f"{row.share:.1%}")


def caller_rows(report: Report) -> Iterable[tuple[str, ...]]:
    """Who was refused, as cells under `CALLERS`."""
    for row in report.callers:
        yield row.limit, row.caller or "(all others)", _count(row)


def _count(row: CallerRow) -> str:
    return str(row.at_least) if row.at_least == row.at_most else f"{row.at_least} to {row.at_most}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name in NUMBERS and head is LIMITS else cell.ljust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
