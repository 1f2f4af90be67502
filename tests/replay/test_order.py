"""Requests are played in the order in which they were decided, whatever order the logs have."""

import random
from collections.abc import Iterator

from gateway.limits.caller import Caller
from gateway.limits.rate import MICROSECONDS
from gateway.replay.order import in_order
from gateway.replay.request import LoggedRequest

ANA = Caller("ana", b"0" * 32)


def at(*times: int, resolution: int = 1) -> list[LoggedRequest]:
    return [LoggedRequest(time, resolution, "orders", ANA, "ana", False) for time in times]


def times(*logs: list[LoggedRequest], held_back: int = 100) -> list[int]:
    return [time for time, _ in in_order(logs, held_back)]


def test_lines_that_are_written_when_a_request_ends_are_sorted_by_when_it_began() -> None:
    pick = random.Random(1)
    late = sorted(range(5_000), key=lambda time: time + pick.randrange(90))
    assert late != sorted(late)
    assert times(at(*late)) == sorted(late)


def test_logs_of_several_servers_or_days_are_merged() -> None:
    assert times(at(5, 6, 7), at(1, 4, 8), at(2, 3)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert times() == []


def test_what_comes_later_than_that_is_not_lost() -> None:
    assert sorted(times(at(*range(1, 1_000), 0), held_back=10)) == list(range(1_000))


def test_the_requests_of_a_whole_second_are_spread_over_it() -> None:
    second = MICROSECONDS
    assert times(at(second, second, second, second, 2 * second, resolution=second)) == [
        1_000_000, 1_250_000, 1_500_000, 1_750_000, 2_000_000,
    ]  # fmt: skip
    assert times(at(second, second)) == [second, second]


def test_a_second_is_not_torn_where_lines_are_passed_on() -> None:
    log = at(*(number // 7 * MICROSECONDS for number in range(700)), resolution=MICROSECONDS)
    found = times(log, held_back=10)
    assert found == sorted(found)
    assert len(set(found)) == 700


def test_more_lines_in_an_instant_than_are_held_back_are_passed_on() -> None:
    assert len(times(at(*[MICROSECONDS] * 1_000, resolution=MICROSECONDS), held_back=10)) == 1_000


def test_no_more_lines_are_held_than_it_says() -> None:
    read = 0

    def log() -> Iterator[LoggedRequest]:
        nonlocal read
        for read in range(10_000):
            yield from at(read)

    for passed_on, _ in enumerate(in_order([log(), log()], held_back=100)):
        assert read - passed_on <= 100
