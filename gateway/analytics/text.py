"""A `Report` as text: tables for a terminal, and JSON for programs."""

import json
from collections.abc import Callable, Collection, Iterable

from gateway.analytics.batch import format_minute
from gateway.analytics.report import OF_REQUESTS, OUTCOMES, CallerRow, Report, SpenderRow

LIMITS = ("LIMIT", "ENDPOINT", "TIER", "ALLOWED", "REFUSED", "TOLD", "WOULD REFUSE", "UNAVAILABLE", "SHARE")
CANDIDATES = ("LIMIT", "ENDPOINT", "TIER", "LIVE REFUSED", "NOT ENFORCED", "SHARE", "CANDIDATE WOULD", "ITS SHARE")
CALLERS = ("LIMIT", "CALLER", "REFUSED")
ENDPOINTS = ("ENDPOINT", "PASSED", "REFUSED", "UNAVAILABLE", "REFUSED BY")
SPENDERS = ("ENDPOINT", "LIMIT", "CALLER", "COST", "SHARE")
NUMBERS = {
    LIMITS: frozenset(LIMITS[3:]),
    CANDIDATES: frozenset(CANDIDATES[3:]),
    ENDPOINTS: frozenset(ENDPOINTS[1:4]),
    SPENDERS: frozenset({"SHARE"}),
}
"""Columns that are aligned to the right; those that may be ranges are not."""


def as_text(report: Report) -> str:
    """The report as tables."""
    parts = [heading(report)]
    if report.caller is not None:
        parts.append(f"caller {report.name(report.caller)}")
    elif report.limits:
        parts.append(_table(ENDPOINTS, endpoint_rows(report)))
        parts.append(_table(LIMITS, limit_rows(report)))
        if report.candidates:
            parts.append(_table(CANDIDATES, candidate_rows(report)))
    if report.spenders and (report.caller is not None or report.endpoint is not None):
        parts.append(_table(SPENDERS, spender_rows(report)))
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
        "requests": {outcome: report.requests.get(outcome, 0) for outcome in OF_REQUESTS},
        "endpoint": report.endpoint,
        "endpoints": [
            {
                "endpoint": row.endpoint,
                **{outcome: row.counts.get(outcome, 0) for outcome in OF_REQUESTS},
                "refused_by": dict(row.refused_by),
            }
            for row in report.endpoints
        ],
        "limits": [
            {
                "limit": row.limit,
                "endpoint": row.endpoint,
                "tier": row.tier or None,
                **{outcome: row.counts.get(outcome, 0) for outcome in OUTCOMES},
            }
            for row in report.limits
        ],
        "candidates": [
            {
                "limit": live.limit,
                "endpoint": live.endpoint,
                "tier": live.tier or None,
                "refused": live.refused,
                "shadow_refused": live.shadow_refused,
                "candidate_would_refuse": candidate.shadow_refused,
            }
            for live, candidate in report.candidates
        ],
        "callers": [
            {
                "limit": row.limit,
                "caller": row.caller or None,
                **_known(report, row.caller),
                "refused_at_least": row.at_least,
                "at_most": row.at_most,
            }
            for row in report.callers
        ],
        "spenders": [
            {
                "endpoint": row.endpoint,
                "limit": row.limit,
                "caller": row.caller or None,
                **_known(report, row.caller),
                "cost_at_least": row.at_least,
                "at_most": row.at_most,
            }
            for row in report.spenders
        ],
        "caller": report.caller,
        "unreadable": report.unreadable,
    }
    return json.dumps(document, indent=2)


def _known(report: Report, caller: str) -> dict[str, str]:
    return {"user": report.names[caller]} if caller in report.names else {}


def heading(report: Report) -> str:
    """The period, and how many requests were refused in it."""
    total, refused = sum(report.requests.values()), report.requests.get("refused", 0)
    since, until = format_minute(report.period.since), format_minute(report.period.until)
    summary = f"{total} requests decided, {refused} refused ({refused / total:.1%})" if total else "no requests decided"
    where = "" if report.endpoint is None else f", endpoint {report.endpoint}"
    return f"{since} to {until}{where}: {summary}\nfrom {report.source}"


def limit_rows(report: Report, number: Callable[[int], str] = str) -> Iterable[tuple[str, ...]]:
    """The decisions of limits, as cells under `LIMITS`."""
    for row in report.limits:
        counts = [number(row.counts.get(outcome, 0)) for outcome in OUTCOMES]
        yield (row.limit, row.endpoint, row.tier or "-", *counts, f"{row.share:.1%}")


def candidate_rows(report: Report, number: Callable[[int], str] = str) -> Iterable[tuple[str, ...]]:
    """Limits against their candidates, as cells under `CANDIDATES`."""
    for live, candidate in report.candidates:
        refused = number(live.refused), number(live.shadow_refused), f"{live.share:.1%}"
        would = number(candidate.shadow_refused), f"{candidate.share:.1%}"
        yield (live.limit, live.endpoint, live.tier or "-", *refused, *would)


def caller_rows(report: Report, number: Callable[[int], str] = str) -> Iterable[tuple[str, ...]]:
    """Who was refused, as cells under `CALLERS`."""
    for row in report.callers:
        yield row.limit, report.name(row.caller) or "(all others)", _count(row, number)


def endpoint_rows(report: Report, number: Callable[[int], str] = str) -> Iterable[tuple[str, ...]]:
    """What became of the requests to each endpoint, as cells under `ENDPOINTS`."""
    for row in report.endpoints:
        passed, refused, unavailable = (row.counts.get(each, 0) for each in ("allowed", "refused", "unavailable"))
        by = ", ".join(f"{limit} {number(count)}" for limit, count in row.refused_by.items())
        yield row.endpoint, number(passed), number(refused), number(unavailable), by or "-"


def spender_rows(report: Report, number: Callable[[int], str] = str) -> Iterable[tuple[str, ...]]:
    """Who was charged, as cells under `SPENDERS`."""
    for row in report.spenders:
        name = report.name(row.caller) or "(all others)"
        yield row.endpoint, row.limit, name, _count(row, number), f"{row.share:.1%}"


def _count(row: CallerRow | SpenderRow, number: Callable[[int], str]) -> str:
    return number(row.at_least) if row.at_least == row.at_most else f"{number(row.at_least)} to {number(row.at_most)}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return align(head, rows, NUMBERS.get(head, frozenset()))


def align(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], numbers: Collection[str]) -> str:
    """Rows under a head, in columns; those of numbers are aligned to the right."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
