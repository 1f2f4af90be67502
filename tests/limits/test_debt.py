"""Debts: what is charged or refunded without asking. That the Lua does the same is in tests/redis/test_scripts.py."""

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.bucket import State, owe, take
from gateway.limits.calendar import MONTH, Calendar, CalendarRate
from gateway.limits.charge import Charge, Demand
from gateway.limits.debt import Debt, reconcile, settle
from gateway.limits.quota import LARGEST_DEBT, Quota
from gateway.limits.rate import MICROSECONDS, Rate

NOW = 1_700_000_000 * MICROSECONDS
QUOTA = Quota(Rate(1, 1), 10)
AT_MOST, ESTIMATE = 9, 3


def charged(tokens: int) -> State:
    return State(NOW + tokens * MICROSECONDS, MICROSECONDS)


def overrun(tokens: int, quota: Quota = QUOTA) -> Debt:
    return Debt(b"a", quota, tokens * quota.interval, at=NOW, most=LARGEST_DEBT)


def test_an_overrun_is_owed_beyond_the_capacity_and_admits_nobody_until_it_is_paid() -> None:
    owed, state = reconcile(charged(10), overrun(25), NOW)
    assert owed == 10 * MICROSECONDS
    assert state == charged(35)
    demands = [Demand(b"a", Charge.of("a", QUOTA))]
    admitted = [take(demands, [state], NOW + second * MICROSECONDS)[0].allowed for second in (0, 25, 26)]
    assert admitted == [False, False, True]


def test_what_was_spent_without_redis_is_charged_up_to_the_capacity_only_and_forgives_no_overrun() -> None:
    assert reconcile(charged(8), Debt(b"a", QUOTA, 5 * MICROSECONDS), NOW)[1] == charged(10)
    assert reconcile(charged(35), Debt(b"a", QUOTA, 5 * MICROSECONDS), NOW) == (35 * MICROSECONDS, None)


def test_a_refund_takes_from_an_overrun_first_and_never_fills_beyond_full() -> None:
    assert reconcile(charged(35), overrun(-5), NOW)[1] == charged(30)
    _, state = reconcile(charged(3), overrun(-5), NOW)
    assert owe(state, QUOTA, NOW) == 0


def test_an_overrun_of_a_calendar_quota_is_forgotten_with_its_period() -> None:
    calendar = Calendar(MONTH, ZoneInfo("UTC"))
    quota = Quota.each_period(CalendarRate(10, calendar))
    _, state = reconcile(None, overrun(10**15, quota), NOW)
    assert quota.capacity < owe(state, quota, NOW) == calendar.end(NOW) - calendar.start(NOW)
    assert owe(state, quota, calendar.end(NOW)) == 0
    assert reconcile(state, overrun(5, quota), calendar.end(NOW)) == (0, None)


@dataclass
class Gateway:
    """Requests with an estimate, on one bucket and a virtual clock."""

    now: int = NOW
    state: State | None = None
    open: list[tuple[list[Demand], object]] = field(default_factory=list)
    cost: int = 0
    most_open: int = 0

    def begin(self) -> None:
        demands = [Demand(b"a", Charge.of("a", QUOTA, ESTIMATE))]
        decision, (state,) = take(demands, [self.state], self.now)
        if decision.allowed:
            self.state = state
            self.open.append((demands, decision))
            self.most_open = max(self.most_open, len(self.open))

    def end(self, which: int, cost: int) -> None:
        demands, decision = self.open.pop(which % len(self.open))
        for debt in settle(demands, decision, cost - ESTIMATE):  # type: ignore[arg-type]
            _, state = reconcile(self.state, debt, self.now)
            self.state = state or self.state
        self.cost += cost


steps = st.lists(
    st.tuples(st.just("begin"), st.just(0), st.just(0))
    | st.tuples(st.just("end"), st.integers(0, 9), st.integers(0, AT_MOST))
    | st.tuples(st.just("pass"), st.integers(1, 8_000_000), st.just(0)),
    max_size=60,
)


@given(steps)
def test_what_all_have_cost_is_at_most_the_burst_the_refill_and_what_those_in_flight_may_overrun(
    played: list[tuple[str, int, int]],
) -> None:
    """The bound of docs/bound.md: B + R t + (most in flight) x (at_most - estimate)."""
    gateway = Gateway()
    for step, number, cost in played:
        if step == "begin":
            gateway.begin()
        elif step == "pass":
            gateway.now += number
        elif gateway.open:
            gateway.end(number, cost)
        refilled = (gateway.now - NOW) / QUOTA.interval
        assert gateway.cost <= QUOTA.burst + refilled + gateway.most_open * (AT_MOST - ESTIMATE)


@given(st.lists(st.integers(0, AT_MOST), min_size=1, max_size=30))
def test_when_all_have_ended_the_bucket_owes_what_they_have_cost_and_nothing_else(costs: list[int]) -> None:
    """So the long-run rate is exact: an overrun is owed, and what was estimated too much comes back."""
    gateway = Gateway()
    state, total = None, 0
    for cost in costs:
        gateway.state = None
        gateway.begin()
        gateway.state = state
        # All at one instant: as if each had been admitted before the first has ended.
        _, state = reconcile(state, overrun(ESTIMATE), NOW)
        gateway.state = state
        gateway.end(0, cost)
        state, total = gateway.state, total + cost
    assert owe(state, QUOTA, NOW) == total * QUOTA.interval
