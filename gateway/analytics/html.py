"""A `Report` as a page to look at: one file of HTML that needs no network and runs no script."""

from collections.abc import Iterable, Sequence
from html import escape

from gateway.analytics.batch import written
from gateway.analytics.report import Report
from gateway.analytics.text import CALLERS, LIMITS, NUMBERS, caller_rows, heading, limit_rows

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Of Paul Tol's scheme "bright", which people who see colours differently can tell apart."""

_REST = "#888888"
_WIDTH, _HEIGHT = 960, 240
_LEFT, _BELOW = 60, 20

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
{course}
<h2>Limits</h2>
{limits}
<h2>Callers refused most</h2>
{callers}
</html>
"""


def as_html(report: Report) -> str:
    """The page."""
    return _PAGE.format(
        heading=escape(heading(report)).replace("\n", "<br>"),
        course=_course(report),
        limits=_table(LIMITS, limit_rows(report)),
        callers=_table(CALLERS, caller_rows(report)),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line("td", head, row) for row in rows]
    if not lines:
        return "<p>None.</p>"
    return "\n".join(["<table>", _line("th", head, [name.capitalize() for name in head]), *lines, "</table>"])


def _line(tag: str, head: Sequence[str], cells: Sequence[str]) -> str:
    kinds = [' class="number"' if head is LIMITS and name in NUMBERS else "" for name in head]
    return (
        f"<tr>{''.join(f'<{tag}{kind}>{escape(cell)}</{tag}>' for kind, cell in zip(kinds, cells, strict=True))}</tr>"
    )


def _course(report: Report) -> str:
    """A column for each step, one piece of it for each of the limits that refused most, and one for all others."""
    names = sorted(report.course, key=lambda limit: (-sum(report.course[limit].values()), limit))
    if not names:
        return "<p>None.</p>"
    told, others = names[: len(_COLOURS)], names[len(_COLOURS) :]
    keys = [*zip(told, _COLOURS, strict=False), *([("all others", _REST)] if others else [])]
    pieces: list[tuple[int, list[int]]] = []
    for step in range(report.span.since, report.span.until, report.span.step):
        counts = [report.course[name].get(step, 0) for name in told]
        if others:
            counts.append(sum(report.course[name].get(step, 0) for name in others))
        pieces.append((step, counts))
    highest = max(sum(counts) for _, counts in pieces)
    legend = "".join(
        f'<span><i class="key" style="background:{colour}"></i>{escape(name)}</span>' for name, colour in keys
    )
    return f'{_axes(report, highest)}\n{"".join(_columns(pieces, keys, highest))}</svg>\n<p class="legend">{legend}</p>'


def _axes(report: Report, highest: int) -> str:
    since, until = written(report.span.since), written(report.span.until)
    bottom, minutes = _HEIGHT - _BELOW, report.span.step // 60
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
    pieces: Sequence[tuple[int, Sequence[int]]], keys: Sequence[tuple[str, str]], highest: int
) -> Iterable[str]:
    bottom, width = _HEIGHT - _BELOW, (_WIDTH - _LEFT) / len(pieces)
    for place, (step, counts) in enumerate(pieces):
        top = float(bottom)
        for (name, colour), count in zip(keys, counts, strict=True):
            if count:
                height = count / highest * bottom
                top -= height
                yield (
                    f'<rect x="{_LEFT + place * width:.2f}" y="{top:.2f}" width="{width * 0.9:.2f}" '
                    f'height="{height:.2f}" fill="{colour}">'
                    f"<title>{written(step)} {escape(name)}: {count}</title></rect>\n"
                )
