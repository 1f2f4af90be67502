"""`TopK` has the bounds that its paper promises, on any stream."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.analytics.top_k import TopK

STREAMS = st.lists(st.integers(0, 12), max_size=300)
CAPACITIES = st.integers(1, 14)


def count(stream: list[int], capacity: int) -> TopK[int]:
    top_k: TopK[int] = TopK(capacity)
    for item in stream:
        top_k.add(item)
    return top_k


@given(STREAMS, CAPACITIES)
def test_every_count_is_within_its_bounds_and_no_error_is_above_n_over_c(stream: list[int], capacity: int) -> None:
    top_k, truth = count(stream, capacity), Counter(stream)
    held = [item for item, _ in top_k.top(capacity)]
    assert len(held) == len(top_k) == min(capacity, len(truth))
    for item in held:
        least, most = top_k.bounds(item)
        assert least <= truth[item] <= most
        assert most - least <= len(stream) / capacity
    assert sum(top_k.bounds(item)[1] for item in held) == len(stream)


@given(STREAMS, CAPACITIES)
def test_an_item_that_occurs_more_than_n_over_c_times_has_a_counter(stream: list[int], capacity: int) -> None:
    top_k = count(stream, capacity)
    for item, times in Counter(stream).items():
        if times > len(stream) / capacity:
            assert top_k.bounds(item)[1] >= times


@given(STREAMS, CAPACITIES, st.integers(1, 5))
def test_no_item_outside_the_top_exceeds_one_in_it_by_more_than_n_over_c(
    stream: list[int], capacity: int, most: int
) -> None:
    top, truth = count(stream, capacity).top(most), Counter(stream)
    assert [times for _, times in top] == sorted((times for _, times in top), reverse=True)
    for item in truth.keys() - {listed for listed, _ in top}:
        if len(top) == most:
            assert truth[item] <= truth[top[-1].item] + len(stream) / capacity


@given(STREAMS)
def test_with_room_for_all_it_is_exact(stream: list[int]) -> None:
    assert dict(count(stream, 13).top(13)) == Counter(stream)


def test_a_flood_of_callers_that_come_once_does_not_hide_one_that_comes_often() -> None:
    top_k: TopK[int] = TopK(100)
    for number in range(1, 100_000):
        top_k.add(number)
        if number % 20 == 0:
            top_k.add(0)
    (first, times), *_ = top_k.top(3)
    assert (first, len(top_k)) == (0, 100)
    assert 4_999 - 105_000 / 100 <= times <= 4_999


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 40)), max_size=200), CAPACITIES)
def test_its_bounds_hold_for_weights(stream: list[tuple[int, int]], capacity: int) -> None:
    top_k: TopK[int] = TopK(capacity)
    truth: Counter[int] = Counter()
    for item, weight in stream:
        top_k.add(item, weight)
        truth[item] += weight
    held = [item for item, _ in top_k.top(capacity)]
    assert len(held) == min(capacity, len(truth))
    for item in held:
        least, most = top_k.bounds(item)
        assert least <= truth[item] <= most
        assert most - least <= truth.total() / capacity
    assert {item for item, weight in truth.items() if weight > truth.total() / capacity} <= set(held)


def test_there_must_be_a_counter() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TopK(0)
