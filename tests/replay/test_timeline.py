"""Counts over time add up in steps that are few enough for a chart, however long a log is."""

import pytest

from gateway.replay.timeline import Timeline

MINUTE = 60


@pytest.mark.parametrize("minutes", [1, 100, 240, 481, 2_000, 10_000, 30_000, 100_000, 600_000, 5_000_000])
def test_the_steps_hold_all_counts_and_are_few(minutes: int) -> None:
    timeline = Timeline()
    start = 1_767_225_600 + 7 * MINUTE
    for minute in range(0, minutes, max(1, minutes // 3_000)):
        timeline.extend(start + minute * MINUTE)
        timeline.count("each", start + minute * MINUTE)
    period, steps = timeline.period, timeline.steps()["each"]
    assert sum(steps.values()) == len(range(0, minutes, max(1, minutes // 3_000)))
    assert len(range(period.since, period.until, period.step)) <= 122
    assert set(steps) <= set(range(period.since, period.until, period.step))
    assert len(timeline._counts["each"]) <= 3_500


def test_a_count_stays_in_its_step() -> None:
    timeline = Timeline()
    for second in (0, 59, 60, 3_600 * 10):
        timeline.extend(1_767_225_600 + second)
    timeline.count("each", 1_767_225_600 + 3_600)
    period = timeline.period
    (start,) = timeline.steps()["each"]
    assert start <= 1_767_225_600 + 3_600 < start + period.step
