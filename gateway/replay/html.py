"""A `Replay` as a web page: one HTML file that needs no network and runs no script."""

from html import escape

from gateway.analytics.html import draw_refusals, draw_table
from gateway.analytics.style import PAGE
from gateway.replay.report import (
    CALLERS,
    LIMITS,
    NUMBERS,
    RULES,
    Replay,
    caller_rows,
    heading,
    limit_rows,
    rules_rows,
)

_BODY = """\
<p class="about">{heading}</p>
<div class="tiles">{tiles}</div>
<h2>Refusals over time by the new rules</h2>
<div class="card">{after}</div>
<h2>Refusals over time by the rules before</h2>
<div class="card">{before}</div>
<h2>Rules</h2>
{rules}
<h2>Limits</h2>
{limits}
<h2>Callers newly refused most</h2>
{callers}
<h2>What this cannot say</h2>
<ul>{caveats}</ul>
"""


def as_html(replay: Replay) -> str:
    """The result as a page."""
    result = replay.result
    period = result.refused_after.period
    tiles = (
        ("requests", result.requests, ""),
        ("newly refused", result.newly, "refused"),
        ("no longer refused", result.no_longer, "passed"),
    )
    body = _BODY.format(
        heading=escape(heading(replay)).replace("\n", "<br>"),
        tiles="".join(f'<div class="tile {style}"><b>{count:,}</b>{name}</div>' for name, count, style in tiles),
        after=draw_refusals(period, result.refused_after.steps()),
        before=draw_refusals(period, result.refused_before.steps()),
        rules=draw_table(RULES, rules_rows(replay), NUMBERS),
        limits=draw_table(LIMITS, limit_rows(replay), NUMBERS),
        callers=draw_table(CALLERS, caller_rows(replay), NUMBERS),
        caveats="".join(f"<li>{escape(each)}</li>" for each in replay.caveats),
    )
    return PAGE.format(title="What the new rules would have refused", body=body)
