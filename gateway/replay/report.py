"""`Replay`: the result of a replay, as tables for a terminal and as JSON for programs."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.analytics.batch import format_minute
from gateway.analytics.text import align
from gateway.replay.comparison import Comparison, LimitCount
from gateway.replay.distinct import Distinct

RULES = ("RULES", "FROM", "REFUSED", "SHARE")
LIMITS = ("LIMIT", "REFUSED BEFORE", "REFUSED", "NEWLY", "CALLERS")
CALLERS = ("LIMIT", "CALLER", "NEWLY REFUSED")
NUMBERS = frozenset({"REFUSED BEFORE", "REFUSED", "NEWLY", "CALLERS", "SHARE"})
"""Columns that are aligned to the right."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of a replay.

    Attributes:
        source: The logs.
        before: Where the rules to compare with are.
        after: Where the new rules are.
        result: What became of the requests.
        bad: Lines that could not be parsed.
        others: Lines of the gateway's log that tell of something else than a request.
        caveats: What the result cannot say.
        most: Callers to list.
    """

    source: str
    before: str
    after: str
    result: Comparison
    bad: int
    others: int
    caveats: tuple[str, ...]
    most: int

    @property
    def span(self) -> tuple[str, str]:
        """The minutes of the first request and of the last one."""
        timeline = self.result.refused_after
        return format_minute(timeline.first), format_minute(timeline.last)


def as_text(replay: Replay) -> str:
    """The result as tables."""
    parts = [heading(replay), align(RULES, rules_rows(replay), NUMBERS), summary(replay)]
    if replay.result.limits:
        parts.append(align(LIMITS, limit_rows(replay), NUMBERS))
    if replay.result.newly:
        parts.append(align(CALLERS, caller_rows(replay), NUMBERS))
    parts.append("\n".join(["What this cannot say:", *(f"* {each}" for each in replay.caveats)]))
    return "\n\n".join(parts)


def as_json(replay: Replay) -> str:
    """The result as JSON."""
    result, (since, until) = replay.result, replay.span
    period = result.refused_after.period
    document: dict[str, Any] = {
        "logs": replay.source,
        "since": since,
        "until": until,
        "requests": result.requests,
        "callers": result.callers.count,
        "callers_exact": result.callers.is_exact,
        "unserved": result.unserved,
        "refused_then": result.refused_then,
        "against": {"rules": replay.before, "refused": result.before},
        "new": {"rules": replay.after, "refused": result.after},
        "newly_refused": result.newly,
        "newly_refused_share": result.share,
        "newly_refused_callers": result.newly_refused.count,
        "newly_refused_callers_exact": result.newly_refused.is_exact,
        "no_longer_refused": result.no_longer,
        "limits": [
            {
                "limit": name,
                "refused_before": count.before,
                "refused": count.after,
                "newly_refused": count.newly,
                "told_before": count.told_before,
                "told": count.told,
                "callers": count.callers.count,
                "callers_exact": count.callers.is_exact,
            }
            for name, count in _ranked(replay)
        ],
        "callers_newly_refused": [
            {"limit": limit, "caller": caller, "at_least": least, "at_most": most}
            for limit, caller, least, most in _top(replay)
        ],
        "over_time": {
            "step_seconds": period.step,
            "refused_before": _steps(result.refused_before.steps()),
            "refused": _steps(result.refused_after.steps()),
        },
        "lines_not_parsed": replay.bad,
        "lines_of_other_events": replay.others,
        "late": result.late,
        "caveats": list(replay.caveats),
    }
    return json.dumps(document, indent=2)


def heading(replay: Replay) -> str:
    """What was replayed."""
    result, (since, until) = replay.result, replay.span
    lines = [
        f"{replay.source}: {_many(result.requests, 'request')} of {_callers(result.callers)}, {since} to {until}",
        *[f"left out: {_many(replay.bad, 'line')} that could not be parsed"] * bool(replay.bad),
        *[f"left out: {_many(result.unserved, 'request')} that would not be served"] * bool(result.unserved),
    ]
    return "\n".join(lines)


def summary(replay: Replay) -> str:
    """What the new rules would change."""
    result = replay.result
    who = f" of {_callers(result.newly_refused)}" if result.newly else ""
    told = [
        f"told the upstream by {name}: {count.told}, before {count.told_before}"
        for name, count in _ranked(replay)
        if count.told or count.told_before
    ]
    return "\n".join(
        [
            f"newly refused: {_many(result.newly, 'request')} ({_percent(result.share)}){who}",
            f"no longer refused: {_many(result.no_longer, 'request')}",
            *told,
        ]
    )


def rules_rows(replay: Replay) -> Iterable[tuple[str, ...]]:
    """Both sets of rules, as cells under `RULES`."""
    result = replay.result
    for name, where, refused in (("before", replay.before, result.before), ("new", replay.after, result.after)):
        yield name, where, str(refused), _percent(refused / result.requests if result.requests else 0.0)


def limit_rows(replay: Replay) -> Iterable[tuple[str, ...]]:
    """What each limit refuses, as cells under `LIMITS`."""
    for name, count in _ranked(replay):
        yield name, str(count.before), str(count.after), str(count.newly), _about(count.callers)


def caller_rows(replay: Replay) -> Iterable[tuple[str, ...]]:
    """Who is newly refused, as cells under `CALLERS`."""
    for limit, caller, least, most in _top(replay):
        yield limit, _printable(caller), str(least) if least == most else f"{least} to {most}"


def _ranked(replay: Replay) -> list[tuple[str, LimitCount]]:
    """The limits that refuse anything, those that refuse most newly first."""
    return sorted(replay.result.limits.items(), key=lambda each: (-each[1].newly, -each[1].after, each[0]))


def _top(replay: Replay) -> Iterable[tuple[str, str, int, int]]:
    top = replay.result.top
    for (limit, caller), _ in top.top(replay.most):
        yield limit, caller, *top.bounds((limit, caller))


def _steps(counts: Any) -> dict[str, dict[str, int]]:
    return {
        limit: {format_minute(start): count for start, count in sorted(steps.items())}
        for limit, steps in counts.items()
    }


def _about(distinct: Distinct) -> str:
    return str(distinct.count) if distinct.is_exact else f"about {distinct.count}"


def _callers(distinct: Distinct) -> str:
    return _many(distinct.count, "caller") if distinct.is_exact else f"about {distinct.count} callers"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _percent(share: float) -> str:
    return f"{share:.3%}"


def _printable(name: str) -> str:
    """A name from a log: whatever it contains, it stays on its line and does nothing to the terminal."""
    return name if name.isprintable() else json.dumps(name)
