"""A `Report` as a web page: one HTML file that needs no network and runs no script."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape

from gateway.analytics.batch import format_minute
from gateway.analytics.chart import Series, draw_chart
from gateway.analytics.report import Report, Timeline
from gateway.analytics.sink import TimeRange
from gateway.analytics.style import PAGE
from gateway.analytics.text import (
    CALLERS,
    CANDIDATES,
    ENDPOINTS,
    LIMITS,
    NUMBERS,
    SPENDERS,
    caller_rows,
    candidate_rows,
    endpoint_rows,
    limit_rows,
    spender_rows,
)

_COLOURS = 6
"""Limits that have a colour of their own in the chart of refusals."""

_MAX_CHARTS = 12
"""Endpoints, and limits, that have a chart of their own: those with most requests."""

_OUTCOMES = (
    ("allowed", "passed", "passed"),
    ("unavailable", "unavailable (503)", "unavailable"),
    ("told", "passed, upstream told", "told"),
    ("shadow_refused", "would be refused", "shadow"),
    ("refused", "refused", "refused"),
)
"""What is stacked in a chart of traffic, from bottom to top: outcome, name, style."""

_BODY = """\
<p class="about">{period}<br>from {source}</p>
<div class="tiles">{tiles}</div>
{unreadable}
<h2>Traffic and refusals</h2>
<div class="card">{traffic}</div>
<h2>Refusals by limit</h2>
<div class="card">{refusals}</div>
<h2>Endpoints over time</h2>
{by_endpoint}
<h2>Limits over time</h2>
{by_limit}
<h2>Top callers, by tokens charged</h2>
{spenders}
<h2>Callers refused most</h2>
{callers}
<h2>Endpoints</h2>
{endpoints}
<h2>Limits</h2>
{limits}
<h2>Limits against their candidates</h2>
{candidates}
"""

_WIDE, _NARROW = (1040, 260), (500, 170)


def as_html(report: Report) -> str:
    """The report as a page."""
    body = _BODY.format(
        period=_period(report),
        source=escape(report.source),
        tiles=_tiles(report),
        traffic=_traffic(report, _total(report.by_endpoint.values()), "Requests", *_WIDE),
        refusals=_refusals(report),
        by_endpoint=_charts(report, report.by_endpoint),
        by_limit=_charts(report, report.by_limit),
        spenders=_table(SPENDERS, spender_rows(report, _number)),
        callers=_table(CALLERS, caller_rows(report, _number)),
        endpoints=_table(ENDPOINTS, endpoint_rows(report, _number)),
        limits=_table(LIMITS, limit_rows(report, _number)),
        candidates=_table(CANDIDATES, candidate_rows(report, _number)),
        unreadable=f"<p>{report.unreadable:,} lines could not be parsed and are left out.</p>"
        * bool(report.unreadable),
    )
    return PAGE.format(title="Who is hitting which limit", body=body)


def _number(count: int) -> str:
    return f"{count:,}"


def _period(report: Report) -> str:
    since, until = (format_minute(each).replace("T", " ").replace("Z", "") for each in report.period[:2])
    minutes = report.period.step // 60
    hours, rest = divmod(minutes, 60)
    step = f"{minutes} minutes" if rest else f"{hours} hours"
    each = {"1 minutes": "minute", "1 hours": "hour", "24 hours": "day"}.get(step, step)
    what = "" if report.endpoint is None else f"Endpoint {report.endpoint}. "
    who = "" if report.caller is None else f"Callers: {report.name(report.caller)} only. "
    return escape(f"{what}{who}{since} to {until} UTC, one column for each {each}".replace("each 1 ", "each "))


def _tiles(report: Report) -> str:
    total = sum(report.requests.values())
    tiles = [("decided", total), ("passed", report.requests.get("allowed", 0))]
    tiles += [(name, count) for name in ("refused", "unavailable") if (count := report.requests.get(name, 0))]
    return "".join(
        f'<div class="tile {name}"><b>{count:,}</b>{name}{_share(count, total) if name != "decided" else ""}</div>'
        for name, count in tiles
    )


def _share(count: int, total: int) -> str:
    return f", {count / total:.1%}" if total else ""


def _total(timelines: Iterable[Timeline]) -> Timeline:
    total: dict[str, Counter[int]] = {}
    for timeline in timelines:
        for outcome, counts in timeline.items():
            total.setdefault(outcome, Counter()).update(counts)
    return total


def _traffic(report: Report, timeline: Timeline, title: str, width: int, height: int) -> str:
    """Requests by what became of them."""
    series = [Series(name, style, timeline[outcome]) for outcome, name, style in _OUTCOMES if timeline.get(outcome)]
    if not series:
        return "<p>None.</p>"
    return draw_chart(report.period, title, series, width=width, height=height) + _legend(series)


def _refusals(report: Report) -> str:
    """Refusals by the limits that refused most, and all others together."""
    refused = {name: each["refused"] for name, each in report.by_limit.items() if each.get("refused")}
    return draw_refusals(report.period, refused)


def draw_refusals(period: TimeRange, refused: Mapping[str, Mapping[int, int]]) -> str:
    """A chart of refusals by limit.

    Args:
        period: The time on its horizontal axis.
        refused: How many, by limit, and then by the start of the step.
    """
    if not refused:
        return "<p>None.</p>"
    names = sorted(refused, key=lambda limit: (-sum(refused[limit].values()), limit))
    series = [Series(name, f"c{place}", refused[name]) for place, name in enumerate(names[:_COLOURS])]
    others: Counter[int] = Counter()
    for name in names[_COLOURS:]:
        others.update(refused[name])
    if others:
        series.append(Series("all others", "others", others))
    width, height = _WIDE
    return draw_chart(period, "Refusals by limit", series, width=width, height=height - 60) + _legend(series)


def _legend(series: Sequence[Series]) -> str:
    keys = "".join(f'<span><i class="key {each.style}"></i>{escape(each.name)}</span>' for each in series)
    return f'<p class="legend">{keys}</p>'


def _charts(report: Report, timelines: Mapping[str, Timeline]) -> str:
    """A small chart of traffic for each name, those with most requests first."""
    sums = {name: sum(sum(counts.values()) for counts in each.values()) for name, each in timelines.items()}
    names = sorted(sums, key=lambda name: (-sums[name], name))
    charts = []
    for name in names[:_MAX_CHARTS]:
        refused = sum(timelines[name].get("refused", {}).values())
        text = f"{sums[name]:,} requests, {refused:,} refused{_share(refused, sums[name])}"
        chart = _traffic(report, timelines[name], name, *_NARROW)
        charts.append(f"<figure><figcaption><b>{escape(name)}</b> {text}</figcaption>\n{chart}</figure>")
    left_out = len(names) - _MAX_CHARTS
    more = f"<p>{left_out:,} with fewer requests have no chart; the table below has them.</p>" if left_out > 0 else ""
    return f'<div class="charts">{"".join(charts)}</div>{more}' if charts else "<p>None.</p>"


def _table(head: tuple[str, ...], rows: Iterable[Sequence[str]]) -> str:
    return draw_table(head, rows, NUMBERS.get(head, frozenset()))


def draw_table(head: tuple[str, ...], rows: Iterable[Sequence[str]], numbers: Collection[str]) -> str:
    """A table with a card around it.

    Args:
        head: Names of the columns, in capitals.
        rows: Cells, which may be any text.
        numbers: The columns that are aligned to the right.
    """
    classes = [' class="number"' if name in numbers else "" for name in head]
    lines = [_row("td", classes, row) for row in rows]
    if not lines:
        return "<p>None.</p>"
    names = [name.capitalize() for name in head]
    return "\n".join(['<div class="table"><table>', _row("th", classes, names), *lines, "</table></div>"])


def _row(tag: str, classes: Sequence[str], cells: Sequence[str]) -> str:
    return (
        f"<tr>{''.join(f'<{tag}{each}>{escape(cell)}</{tag}>' for each, cell in zip(classes, cells, strict=True))}</tr>"
    )
