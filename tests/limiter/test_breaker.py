"""`Breaker`: pure, so without a store."""

from gateway.limits.breaker import Breaker


def test_it_opens_after_so_many_failures_in_a_row_and_says_so_once() -> None:
    breaker = Breaker(3)
    assert [breaker.fail(now) for now in range(5)] == [False, False, True, False, False]
    assert breaker.is_open
    assert breaker.opened_at == 2


def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker(2)
    assert not breaker.fail(0)
    breaker.succeed()
    assert not breaker.fail(1)
    assert not breaker.is_open


def test_a_late_success_does_not_close_it() -> None:
    breaker = Breaker(1)
    breaker.fail(0)
    breaker.succeed()
    assert breaker.is_open


def test_closing_tells_how_long_it_was_open_and_forgets_the_failures() -> None:
    breaker = Breaker(2)
    breaker.open(10)
    assert breaker.close(25) == 15
    assert breaker.close(30) == 0
    assert not breaker.fail(31)
    assert not breaker.is_open
