"""The sketch keeps the promises of its paper, on any stream."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.analytics.top_k import TopK

STREAMS = st.lists(st.integers(0, 12), max_size=300)
CAPACITIES = st.integers(1, 14)


def sketch_of(stream: list[int], capacity: int) -> TopK[int]:
    sketch: TopK[int] = TopK(capacity)
    for item in stream:
        sketch.add(item)
    return sketch


@settings(deadline=None)
@given(STREAMS, CAPACITIES)
def test_every_count_is_within_its_bounds_and_no_error_is_above_n_over_c(stream: list[int], capacity: int) -> None:
    sketch, truth = sketch_of(stream, capacity), Counter(stream)
    held = [item for item, _ in sketch.top(capacity)]
    assert len(held) == len(sketch) == min(capacity, len(truth))
    for item in held:
        least, most = sketch.bounds(item)
        assert least <= truth[item] <= most
        assert most - least <= len(stream) / capacity
    assert sum(sketch.bounds(item)[1] for item in held) == len(stream)


@settings(deadline=None)
@given(STREAMS, CAPACITIES)
def test_whoever_turns_up_more_than_n_over_c_times_has_a_counter(stream: list[int], capacity: int) -> None:
    sketch = sketch_of(stream, capacity)
    for item, times in Counter(stream).items():
        if times > len(stream) / capacity:
            assert sketch.bounds(item)[1] >= times


@settings(deadline=None)
@given(STREAMS, CAPACITIES, st.integers(1, 5))
def test_nobody_who_is_left_out_of_the_top_beats_one_in_it_by_more_than_n_over_c(
    stream: list[int], capacity: int, most: int
) -> None:
    top, truth = sketch_of(stream, capacity).top(most), Counter(stream)
    assert [times for _, times in top] == sorted((times for _, times in top), reverse=True)
    for item in truth.keys() - {told for told, _ in top}:
        if len(top) == most:
            assert truth[item] <= truth[top[-1].item] + len(stream) / capacity


@settings(deadline=None)
@given(STREAMS)
def test_with_room_for_all_it_is_exact(stream: list[int]) -> None:
    assert dict(sketch_of(stream, 13).top(13)) == Counter(stream)


def test_a_flood_of_callers_that_come_once_does_not_hide_one_that_comes_often() -> None:
    sketch: TopK[int] = TopK(100)
    for number in range(1, 100_000):
        sketch.add(number)
        if number % 20 == 0:
            sketch.add(0)
    (first, times), *_ = sketch.top(3)
    assert (first, len(sketch)) == (0, 100)
    assert 4_999 - 105_000 / 100 <= times <= 4_999


def test_it_has_a_counter_at_least() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TopK(0)
