"""A `Report` as text: tables for a terminal, and JSON for programs."""

import json
from collections.abc import Iterable

from gateway.analytics.batch import written
from gateway.analytics.report import OUTCOMES, Refused, Report

LIMITS = ("LIMIT", "ENDPOINT", "TIER", "ALLOWED", "REFUSED", "WOULD REFUSE", "UNAVAILABLE", "SHARE")
CALLERS = ("LIMIT", "CALLER", "REFUSED")
NUMBERS = frozenset(LIMITS[3:])
"""What stands under these is read from the right; of callers it may be a span."""


def as_text(report: Report) -> str:
    """The report for people."""
    parts = [heading(report)]
    if report.caller is not None:
        parts.append(f"caller {report.caller}")
    elif report.limits:
        parts.append(_table(LIMITS, limit_rows(report)))
    if report.callers:
        parts.append(_table(CALLERS, caller_rows(report)))
    elif report.limits:
        parts.append("Nobody was refused." if report.caller is None else "Not among those that were refused most.")
    if report.unreadable:
        parts.append(f"{report.unreadable} lines could not be read and are left out.")
    return "\n\n".join(parts)


def as_json(report: Report) -> str:
    """The report for programs."""
    document = {
        "since": written(report.span.since),
        "until": written(report.span.until),
        "requests": {outcome: report.requests.get(outcome, 0) for outcome in OUTCOMES if outcome != "shadow_refused"},
        "limits": [
            {
                "limit": told.limit,
                "endpoint": told.endpoint,
                "tier": told.tier or None,
                **{outcome: told.counts.get(outcome, 0) for outcome in OUTCOMES},
            }
            for told in report.limits
        ],
        "callers": [
            {"limit": told.limit, "caller": told.caller or None, "refused_at_least": told.least, "at_most": told.most}
            for told in report.callers
        ],
        "caller": report.caller,
        "unreadable": report.unreadable,
    }
    return json.dumps(document, indent=2)


def heading(report: Report) -> str:
    """When, and how much of all was refused."""
    total, refused = sum(report.requests.values()), report.requests.get("refused", 0)
    since, until = written(report.span.since), written(report.span.until)
    what = f"{total} requests decided, {refused} refused ({refused / total:.1%})" if total else "no requests decided"
    return f"{since} to {until}: {what}\nfrom {report.source}"


def limit_rows(report: Report) -> Iterable[tuple[str, ...]]:
    """What limits said, as cells under `LIMITS`."""
    for told in report.limits:
        counts = [str(told.counts.get(outcome, 0)) for outcome in OUTCOMES]
        yield (told.limit, told.endpoint, told.tier or "-", *counts, f"{told.share:.1%}")


def caller_rows(report: Report) -> Iterable[tuple[str, ...]]:
    """Who was refused, as cells under `CALLERS`."""
    for told in report.callers:
        yield told.limit, told.caller or "(all others)", _count(told)


def _count(told: Refused) -> str:
    return str(told.least) if told.least == told.most else f"{told.least} to {told.most}"


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
