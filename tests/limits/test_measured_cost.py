"""What a request has cost, from what is known when it has ended."""

import pytest

from gateway.limits.measured_cost import Ended, MeasuredCost, Unmeasured

BY_HEADER = MeasuredCost(estimate=200, at_most=8000, header=b"x-cost")
BY_SIZE = MeasuredCost(at_most=100, per=65_536)
FAILED_LOGINS = MeasuredCost(charge_on=frozenset({401, 403}))


def ended(status: int = 200, *costs: bytes, was_sent: bool = True, size: int = 0) -> Ended:
    return Ended(status, was_sent, costs, size)


@pytest.mark.parametrize(
    ("costs", "cost", "problem"),
    [
        ((b"37",), 37, None),
        ((b" 37\t",), 37, None),
        ((b"0",), 0, None),
        ((b"0042",), 42, None),
        ((b"8000",), 8000, None),
        ((b"8001",), 8000, Unmeasured.ABOVE_MOST),
        ((b"9" * 18,), 8000, Unmeasured.ABOVE_MOST),
        ((b"9" * 19,), 200, Unmeasured.INVALID),
        ((), 200, Unmeasured.MISSING),
        ((b"1", b"1"), 200, Unmeasured.REPEATED),
        ((b"1, 2",), 200, Unmeasured.INVALID),
        ((b"",), 200, Unmeasured.INVALID),
        ((b"-5",), 200, Unmeasured.INVALID),
        ((b"+5",), 200, Unmeasured.INVALID),
        ((b"5.0",), 200, Unmeasured.INVALID),
        ((b"1_000",), 200, Unmeasured.INVALID),
        (("٣".encode(),), 200, Unmeasured.INVALID),
    ],
)
def test_a_header_states_the_cost_in_digits_once(
    costs: tuple[bytes, ...], cost: int, problem: Unmeasured | None
) -> None:
    assert BY_HEADER.measure(ended(200, *costs)) == (200, cost, problem)


def test_without_a_response_from_the_upstream_the_estimate_stays_and_nobody_is_blamed() -> None:
    for status in (0, 502, 504):
        assert BY_HEADER.measure(Ended(status, True, None, 0)) == (200, 200, None)


@pytest.mark.parametrize(("size", "cost"), [(0, 1), (1, 1), (65_536, 1), (65_537, 2), (655_360, 10), (10**12, 100)])
def test_each_part_of_a_size_costs_a_token_and_an_empty_response_one(size: int, cost: int) -> None:
    assert BY_SIZE.measure(ended(size=size)).cost == cost


def test_only_some_statuses_are_charged_and_leaving_early_is_no_way_out() -> None:
    costs = {status: FAILED_LOGINS.measure(ended(status)).cost for status in (200, 302, 401, 403, 500, 0)}
    assert costs == {200: 0, 302: 0, 401: 1, 403: 1, 500: 0, 0: 1}


def test_what_never_reached_an_upstream_costs_nothing_unless_that_is_said() -> None:
    unsent = ended(502, was_sent=False)
    assert [each.measure(unsent).cost for each in (BY_HEADER, BY_SIZE, FAILED_LOGINS)] == [0, 0, 0]
    keeps = MeasuredCost(estimate=3, give_back_on=frozenset({503}), gives_back_unsent=False)
    assert keeps.measure(unsent).cost == 3
    assert keeps.measure(ended(503)).cost == 0


def test_a_status_that_is_given_back_costs_nothing_whatever_the_response_says() -> None:
    measured = MeasuredCost(estimate=5, at_most=50, header=b"x-cost", give_back_on=frozenset({502, 503, 504}))
    assert [measured.measure(ended(status, b"40")).cost for status in (200, 502, 503, 504)] == [40, 0, 0, 0]
