"""`draw_chart`: counts over time as stacked columns, in SVG.

A few columns that are much higher than the rest are cut off, marked and labelled, so that the rest stays readable.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import NamedTuple

from gateway.analytics.batch import format_minute
from gateway.analytics.sink import TimeRange

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 8, 22, 24
"""Pixels around the columns, for labels."""

_OUTLIER = 4
"""Columns are cut off if the highest is so many times as high as three quarters of all are."""

_LEAST_HEIGHT = 1.5
"""Pixels of a part of a column, so that a single refusal in much traffic is still seen."""

_LABEL_WIDTH = 72
"""Pixels between the labels of two columns that are cut off, and between two labels of the time axis."""

_HOUR, _DAY = 3600, 86_400
_TICKS = (
    60,
    300,
    600,
    1800,
    _HOUR,
    2 * _HOUR,
    3 * _HOUR,
    6 * _HOUR,
    12 * _HOUR,
    *(_DAY * n for n in (1, 2, 7, 14, 28)),
)


class Series(NamedTuple):
    """What is stacked in the columns of a chart.

    Attributes:
        name: What is counted.
        style: The class in the page's style sheet.
        counts: How many, by the start of the step.
    """

    name: str
    style: str
    counts: Mapping[int, int]


class _Scale(NamedTuple):
    """The vertical axis.

    Attributes:
        top: The number at its upper end.
        step: The distance of its grid lines.
    """

    top: int
    step: int


def draw_chart(period: TimeRange, title: str, series: Sequence[Series], *, width: int, height: int) -> str:
    """A chart of series, from bottom to top, and below it what was cut off.

    Args:
        period: The time on the horizontal axis.
        title: What a screen reader says.
        series: What is stacked.
        width: Pixels.
        height: Pixels.
    """
    starts = range(period.since, period.until, period.step)
    totals = [sum(each.counts.get(start, 0) for each in series) for start in starts]
    scale = _scale(totals)
    chart = _Chart(period, width, height, scale, (width - _LEFT - _RIGHT) / len(totals))
    cut_off = [index for index, total in enumerate(totals) if total > scale.top]
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}, {max(totals):,} at most">',
        *chart.grid(),
        *(part for index, start in enumerate(starts) for part in chart.column(index, start, series, totals[index])),
        *chart.marks(cut_off, totals),
        "</svg>",
    ]
    if cut_off:
        parts.append(
            f'<p class="note">The scale ends at {scale.top:,}. Columns marked \u25b2 are higher and cut off, up to '
            f"{max(totals):,}.</p>"
        )
    return "\n".join(parts)


class _Chart(NamedTuple):
    """Where things are in a chart.

    Attributes:
        period: The time on the horizontal axis.
        width: Of the whole chart.
        height: Of the whole chart.
        scale: The vertical axis.
        column_width: Pixels from one column to the next.
    """

    period: TimeRange
    width: int
    height: int
    scale: _Scale
    column_width: float

    @property
    def bottom(self) -> int:
        return self.height - _BOTTOM

    def y(self, count: float) -> float:
        return self.bottom - count / self.scale.top * (self.bottom - _TOP)

    def x(self, instant: int) -> float:
        return _LEFT + (instant - self.period.since) / self.period.step * self.column_width

    def grid(self) -> Iterable[str]:
        right = self.width - _RIGHT
        for count in range(0, self.scale.top + 1, self.scale.step):
            y = self.y(count)
            style = "axis" if count == 0 else "grid"
            yield f'<line class="{style}" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
            yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{count:,}</text>'
        tick = self._tick()
        for instant in range(self.period.since + -self.period.since % tick, self.period.until + 1, tick):
            x = self.x(instant)
            yield f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{self.bottom + 4}"/>'
            if _LEFT + 14 <= x <= right - 14:
                yield f'<text x="{x:.1f}" y="{self.height - 6}" text-anchor="middle">{_when(instant, tick)}</text>'

    def _tick(self) -> int:
        """Seconds between two labels of the time axis."""
        most = max(2, (self.width - _LEFT - _RIGHT) // _LABEL_WIDTH)
        least = (self.period.until - self.period.since) / most
        return next((tick for tick in _TICKS if tick >= least), 364 * _DAY)

    def column(self, index: int, start: int, series: Sequence[Series], total: int) -> Iterable[str]:
        """The parts of a column. One that is cut off keeps their proportions."""
        factor = min(1.0, self.scale.top / total) if total else 1.0
        y = float(self.bottom)
        for each in series:
            count = each.counts.get(start, 0)
            if not count:
                continue
            height = max(_LEAST_HEIGHT, self.bottom - self.y(count * factor))
            y -= height
            yield (
                f'<rect class="{each.style}" x="{_LEFT + index * self.column_width:.2f}" y="{y:.2f}" '
                f'width="{self.column_width * 0.88:.2f}" height="{height:.2f}">'
                f"<title>{format_minute(start)} {escape(each.name)}: {count:,}</title></rect>"
            )

    def marks(self, cut_off: Sequence[int], totals: Sequence[int]) -> Iterable[str]:
        """A mark on each column that is cut off, and how high the highest of them are."""
        labelled: list[float] = []
        for index in sorted(cut_off, key=lambda index: -totals[index]):
            x = _LEFT + (index + 0.44) * self.column_width
            yield f'<path class="cut" d="M{x - 4:.1f} {_TOP - 1}h8l-4 -6z"/>'
            if all(abs(x - other) >= _LABEL_WIDTH for other in labelled):
                labelled.append(x)
                at = min(max(x, _LEFT + 20), self.width - _RIGHT - 20)
                yield f'<text class="peak" x="{at:.1f}" y="{_TOP - 10}" text-anchor="middle">{totals[index]:,}</text>'


def _scale(totals: Sequence[int]) -> _Scale:
    highest = max(totals, default=0)
    ranked = sorted(total for total in totals if total)
    usual = ranked[(len(ranked) - 1) * 3 // 4] if ranked else 0
    return _round_up(2 * usual if highest > _OUTLIER * usual else highest)


def _round_up(highest: int) -> _Scale:
    """Grid lines at 1, 2 or 5 times a power of ten, five at most."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            lines = -(-highest // (step * factor))
            if lines <= 5:  # noqa: PLR2004 - as the docstring says
                return _Scale(max(1, lines) * step * factor, step * factor)
        step *= 10


def _when(instant: int, tick: int) -> str:
    """A label of the time axis: the date at midnight, else the time of day."""
    when = datetime.fromtimestamp(instant, UTC)
    if tick >= 364 * _DAY:
        return f"{when:%b %Y}"
    return f"{when.day} {when:%b}" if instant % _DAY == 0 else f"{when:%H:%M}"
