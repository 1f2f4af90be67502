"""When Redis is not worth asking any more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limiter.breaker import THRESHOLD, Breaker


def test_it_starts_closed() -> None:
    assert not Breaker().is_open


def test_so_many_failures_in_a_row_open_it_and_only_the_last_of_them_says_so() -> None:
    breaker = Breaker()
    assert [breaker.fail(now) for now in range(THRESHOLD)] == [False] * (THRESHOLD - 1) + [True]
    assert breaker.opened_at == THRESHOLD - 1


@given(st.lists(st.booleans()), st.integers(1, 5))
def test_it_opens_exactly_when_there_were_that_many_failures_in_a_row(answers: list[bool], threshold: int) -> None:
    breaker = Breaker(threshold)
    history = ""
    for now, answered in enumerate(answers):
        if answered:
            breaker.succeed()
        else:
            breaker.fail(now)
        history += "." if answered else "x"
        assert breaker.is_open == ("x" * threshold in history)


def test_a_late_answer_does_not_close_it() -> None:
    breaker = Breaker(threshold=1)
    breaker.fail(7)
    breaker.succeed()
    assert breaker.opened_at == 7


def test_a_failure_while_it_is_open_is_no_news() -> None:
    breaker = Breaker(threshold=1)
    assert breaker.fail(7)
    assert not breaker.fail(8)
    assert breaker.opened_at == 7


@pytest.mark.parametrize("by_hand", [True, False])
def test_closing_tells_how_long_it_was_open(*, by_hand: bool) -> None:
    breaker = Breaker(threshold=1)
    if by_hand:
        breaker.open(100)
    else:
        breaker.fail(100)
    assert breaker.close(350) == 250
    assert not breaker.is_open


def test_once_closed_it_counts_anew() -> None:
    breaker = Breaker(threshold=2)
    breaker.fail(1)
    breaker.fail(2)
    breaker.close(3)
    assert not breaker.fail(4)
    assert breaker.fail(5)


def test_closing_what_is_closed_is_nothing() -> None:
    assert Breaker().close(5) == 0
