"""A reservation comes out of the store as it went in."""

from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.reservations.reservation import Reservation
from gateway.control.reservations.store import MemoryReservations
from gateway.limits.bucket import Decision
from gateway.limits.calendar import DAY, MONTH, WEEK, Calendar, CalendarRate
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate

rates = st.builds(Quota, st.builds(Rate, st.integers(1, 10**6), st.integers(1, 86_400)), st.integers(1, 10_000))
calendars = st.sampled_from(
    [Calendar(DAY, ZoneInfo("Europe/Berlin")), Calendar(WEEK, ZoneInfo("UTC"), 7), Calendar(MONTH, ZoneInfo("UTC"), 31)]
)
quotas = rates | st.builds(lambda tokens, calendar: Quota.each_period(CalendarRate(tokens, calendar)),
                           st.integers(1, 10**9), calendars)  # fmt: skip
keys = st.text("abc:*%2", min_size=1).map(str.encode)


@given(st.text(min_size=1), st.integers(1, 10**9), st.integers(0, 2**53), st.lists(st.tuples(keys, quotas), max_size=4))
def test_it_is_read_as_it_was_written(endpoint: str, weight: int, at: int, buckets: list[tuple[bytes, Quota]]) -> None:
    reservation = Reservation(endpoint, weight, at, tuple(buckets))
    assert Reservation.read(reservation.text()) == reservation


def test_only_buckets_that_were_charged_are_in_it() -> None:
    quota = Quota(Rate(1, 1), 5)
    demands = [Demand(key, Charge.of("x", quota, 2)) for key in (b"a", b"b")]
    reservation = Reservation.of("order", 2, demands, Decision(True, 7, (0, 5), (1,)))
    assert reservation == Reservation("order", 2, 7, ((b"a", quota),))
    again, verdict = reservation.demands()
    assert [(each.key, each.charge.quota, each.charge.due) for each in again] == [(b"a", quota, 2_000_000)]
    assert verdict.allowed


async def test_in_memory_there_are_only_so_many_and_a_settled_one_is_remembered_for_a_minute() -> None:
    now = 0
    kept = MemoryReservations(lambda: now, most=3)
    names = [await kept.add(Reservation("order", number, 0, ()), 10) for number in range(4)]
    assert await kept.claim(names[0], 1) is None
    now = 9_999_999
    first = await kept.claim(names[1], 5)
    assert first is not None
    assert (first.cost, first.is_first) == (5, True)
    now = 60_000_000
    again = await kept.claim(names[1], 7)
    assert again is not None
    assert (again.cost, again.is_first) == (5, False)
    assert await kept.claim(names[2], 1) is None
