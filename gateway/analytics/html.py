"""A `Report` as a web page: one HTML file that needs no network and runs no script."""

from collections.abc import Iterable, Sequence
from html import escape

from gateway.analytics.batch import format_minute
from gateway.analytics.report import Report
from gateway.analytics.text import CALLERS, LIMITS, NUMBERS, caller_rows, heading, limit_rows

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Paul Tol's scheme "bright", which colour-blind people can tell apart."""

_OTHERS_COLOUR = "#888888"
_WIDTH, _HEIGHT = 960, 240
_LEFT, _BOTTOM = 60, 20

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Who is hitting which limit</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }}
body {{ max-width: 64rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ width: 100%; height: auto }}
svg text {{ fill: currentColor; font-size: 12px }}
svg line {{ stroke: currentColor; opacity: .3 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #8884 }}
td {{ font-variant-numeric: tabular-nums; overflow-wrap: anywhere }}
.number {{ text-align: right }}
.key {{ display: inline-block; width: .8em; height: .8em; margin-right: .3em }}
.legend span {{ margin-right: 1.2em }}
</style>
<h1>Who is hitting which limit</h1>
<p>{heading}</p>
<h2>Refusals over time</h2>
{chart}
<h2>Limits</h2>
{limits}
<h2>Callers refused most</h2>
{callers}
</html>
"""


def as_html(report: Report) -> str:
    """The report as a page."""
    return _PAGE.format(
        heading=escape(heading(report)).replace("\n", "<br>"),
        chart=_chart(report),
        limits=_table(LIMITS, limit_rows(report)),
        callers=_table(CALLERS, caller_rows(report)),
    )


def _table(head: tuple[str, ...], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row("td", head, row) for row in rows]
    if not lines:
        return "<p>None.</p>"
    return "\n".join(["<table>", _row("th", head, [name.capitalize() for name in head]), *lines, "</table>"])


def _row(tag: str, head: tuple[str, ...], cells: Sequence[str]) -> str:
    classes = [' class="number"' if name in NUMBERS.get(head, ()) else "" for name in head]
    return (
        f"<tr>{''.join(f'<{tag}{each}>{escape(cell)}</{tag}>' for each, cell in zip(classes, cells, strict=True))}</tr>"
    )


def _chart(report: Report) -> str:
    """A stacked column for each step: the limits that refused most, and all others together."""
    names = sorted(report.refusals, key=lambda limit: (-sum(report.refusals[limit].values()), limit))
    if not names:
        return "<p>None.</p>"
    shown, others = names[: len(_COLOURS)], names[len(_COLOURS) :]
    keys = [*zip(shown, _COLOURS, strict=False), *([("all others", _OTHERS_COLOUR)] if others else [])]
    columns: list[tuple[int, list[int]]] = []
    for step in range(report.period.since, report.period.until, report.period.step):
        counts = [report.refusals[name].get(step, 0) for name in shown]
        if others:
            counts.append(sum(report.refusals[name].get(step, 0) for name in others))
        columns.append((step, counts))
    highest = max(sum(counts) for _, counts in columns)
    legend = "".join(
        f'<span><i class="key" style="background:{colour}"></i>{escape(name)}</span>' for name, colour in keys
    )
    return (
        f'{_axes(report, highest)}\n{"".join(_columns(columns, keys, highest))}</svg>\n<p class="legend">{legend}</p>'
    )


def _axes(report: Report, highest: int) -> str:
    since, until = format_minute(report.period.since), format_minute(report.period.until)
    bottom, minutes = _HEIGHT - _BOTTOM, report.period.step // 60
    per = "minute" if minutes == 1 else f"{minutes} minutes"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Refusals per {per}, {highest} at most">\n'
        f'<text x="{_LEFT - 6}" y="12" text-anchor="end">{highest}</text>'
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 4}">{since}</text>'
        f'<text x="{(_LEFT + _WIDTH) // 2}" y="{_HEIGHT - 4}" text-anchor="middle">refusals per {per}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">{until}</text>'
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH}" y2="{bottom}"/>'
        f'<line x1="{_LEFT}" y1="0" x2="{_WIDTH}" y2="0"/>'
    )


def _columns(
    columns: Sequence[tuple[int, Sequence[int]]], keys: Sequence[tuple[str, str]], highest: int
) -> Iterable[str]:
    bottom, width = _HEIGHT - _BOTTOM, (_WIDTH - _LEFT) / len(columns)
    for position, (step, counts) in enumerate(columns):
        top = float(bottom)
        for (name, colour), count in zip(keys, counts, strict=True):
            if count:
                height = count / highest * bottom
                top -= height
                yield (
                    f'<rect x="{_LEFT + position * width:.2f}" y="{top:.2f}" width="{width * 0.9:.2f}" '
                    f'height="{height:.2f}" fill="{colour}">'
                    f"<title>{format_minute(step)} {escape(name)}: {count}</title></rect>\n"
                )
