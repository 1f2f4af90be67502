"""The law of the bucket, held against the plainest token bucket there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.limits.bucket import Decision, State, judge, owe, take
from gateway.limits.charge import Charge, Demand
from gateway.limits.quota import LARGEST, LARGEST_DEBT, Quota
from gateway.limits.rate import MICROSECONDS, Rate

NOW = 1_700_000_000 * MICROSECONDS
YEAR_2100 = 4_102_444_800 * MICROSECONDS

LONGEST_PERIOD = 366 * 86_400

TEN = Quota(Rate(1, 1), 10)
"""Ten tokens, one a second."""


@st.composite
def permitted_quotas(draw: st.DrawFn) -> Quota:
    """Any quota that there can be, the extremes included."""
    seconds = draw(st.sampled_from([1, 7, 60, 3_600, 86_400, LONGEST_PERIOD]) | st.integers(1, LONGEST_PERIOD))
    rate = Rate(draw(st.integers(1, seconds * MICROSECONDS)), seconds)
    return Quota(rate, draw(st.integers(1, LARGEST_DEBT // rate.interval)))


quotas = st.builds(Quota, st.builds(Rate, st.integers(1, 2_000_000), st.integers(3, 60)), st.integers(1, 8))
"""Small buckets, so that a few checks fill and empty them."""

checks = st.lists(
    st.tuples(st.integers(0, 4), st.integers(-1, 1), st.integers(0, 5), st.integers(0, 10)), min_size=1, max_size=40
)
"""For each check: how long after the one before (intervals, microseconds, tenths of an interval), and its cost."""


def timed(quota: Quota, plan: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Instants and costs of checks, many of them right at the edge of a refill."""
    now, events = NOW, []
    for intervals, jitter, tenths, cost in plan:
        now += max(0, intervals * quota.interval + tenths * quota.interval // 10 + jitter)
        events.append((now, cost))
    return events


def spend(quota: Quota, state: State | None, now: int, cost: int = 1) -> tuple[bool, State | None]:
    """One check of one enforced bucket: whether it passes, and the bucket afterwards."""
    decision, (written,) = take([Demand(b"bucket", Charge.of("limit", quota, cost))], [state], now)
    return decision.allowed, written or state


@dataclass
class Reference:
    """A token bucket as in a textbook: a count of tokens, refilled with time, in exact fractions."""

    quota: Quota
    now: int
    tokens: Fraction

    def take(self, now: int, cost: int) -> bool:
        refilled = self.tokens + Fraction(now - self.now, self.quota.interval)
        self.tokens, self.now = min(Fraction(self.quota.burst), refilled), now
        if self.tokens < cost:
            return False
        self.tokens -= cost
        return True


@given(quotas, checks)
def test_it_equals_a_textbook_token_bucket(quota: Quota, plan: list[tuple[int, int, int, int]]) -> None:
    """To the microsecond, given that a token comes back in a whole number of them."""
    reference = Reference(quota, NOW, Fraction(quota.burst))
    state = None
    for now, cost in timed(quota, plan):
        allowed, state = spend(quota, state, now, cost)
        assert allowed == reference.take(now, cost)
        assert owe(state, quota, now) == (quota.burst - reference.tokens) * quota.interval


@given(quotas, checks)
def test_no_window_admits_more_than_burst_and_refill(quota: Quota, plan: list[tuple[int, int, int, int]]) -> None:
    state, admitted = None, []
    assert isinstance(quota.rate, Rate)
    for now, cost in timed(quota, plan):
        allowed, state = spend(quota, state, now, cost)
        if allowed:
            admitted.append((now, cost))
    for first, (start, _) in enumerate(admitted):
        total = 0
        for end, cost in admitted[first:]:
            total += cost
            assert total <= quota.burst + (end - start) // quota.interval
            assert total <= quota.burst + Fraction((end - start) * quota.rate.tokens, quota.rate.seconds * MICROSECONDS)


@given(quotas, st.integers(1, 50))
def test_a_steady_caller_gets_the_rate_and_not_less(quota: Quota, count: int) -> None:
    state = None
    for position in range(count):
        allowed, state = spend(quota, state, NOW + position * quota.interval)
        assert allowed


@given(quotas)
def test_a_full_bucket_gives_its_burst_at_once_and_the_next_token_to_the_microsecond(quota: Quota) -> None:
    allowed, state = spend(quota, None, NOW, quota.burst)
    assert allowed
    assert not spend(quota, state, NOW + quota.interval - 1)[0]
    assert spend(quota, state, NOW + quota.interval)[0]


@given(permitted_quotas(), st.integers(1, 2**60))
def test_a_cost_above_the_burst_never_passes(quota: Quota, more: int) -> None:
    assert spend(quota, None, NOW, quota.burst + more) == (False, None)
    assert spend(quota, None, NOW, quota.burst)[0]


@given(permitted_quotas(), st.integers(0, LARGEST_DEBT))
def test_a_cost_of_0_passes_and_touches_nothing(quota: Quota, debt: int) -> None:
    state = State(NOW + debt, quota.interval)
    assert take([Demand(b"bucket", Charge.of("limit", quota, 0))], [state], NOW) == (
        Decision(allowed=True, now=NOW, owed=(debt,), refused=()),
        (None,),
    )


@given(permitted_quotas(), st.integers(0, NOW), st.integers(0, 10))
def test_full_and_absent_are_the_same(quota: Quota, ago: int, cost: int) -> None:
    demands = [Demand(b"bucket", Charge.of("limit", quota, cost))]
    assert take(demands, [State(NOW - ago, quota.interval)], NOW) == take(demands, [None], NOW)


@st.composite
def several(draw: st.DrawFn) -> tuple[list[Demand], list[State | None]]:
    """Several buckets in any state, and what is demanded of them."""
    demands, states = [], []
    for position in range(draw(st.integers(0, 5))):
        quota = draw(quotas)
        cost, enforced = draw(st.integers(0, 10)), draw(st.booleans())
        demands.append(Demand(b"bucket %d" % position, Charge.of(f"limit {position}", quota, cost, enforced=enforced)))
        states.append(
            draw(st.none() | st.builds(State, st.integers(NOW - 10, NOW + quota.capacity), st.just(quota.interval)))
        )
    return demands, states


@given(several())
def test_all_enforced_buckets_are_charged_or_none_is(case: tuple[list[Demand], list[State | None]]) -> None:
    demands, states = case
    decision, written = take(demands, states, NOW)
    can_pay = [
        owe(state, demand.charge.quota, NOW) + demand.charge.cost * demand.charge.quota.interval
        <= demand.charge.quota.capacity
        for demand, state in zip(demands, states, strict=True)
    ]
    assert decision.now == NOW
    assert decision.refused == tuple(position for position, able in enumerate(can_pay) if not able)
    assert decision.allowed == all(
        able for demand, able in zip(demands, can_pay, strict=True) if demand.charge.enforced
    )
    for demand, state, new, able in zip(demands, states, written, can_pay, strict=True):
        charge = demand.charge
        debt = owe(state, charge.quota, NOW)
        if decision.allowed and able and charge.cost:
            assert new == State(NOW + debt + charge.cost * charge.quota.interval, charge.quota.interval)
        else:
            assert new is None


@given(several())
def test_a_decision_is_what_judge_says_of_what_is_owed(case: tuple[list[Demand], list[State | None]]) -> None:
    """A store that knows only the debts comes to the same decision."""
    demands, states = case
    owed = [owe(state, demand.charge.quota, NOW) for demand, state in zip(demands, states, strict=True)]
    assert judge(demands, owed, NOW) == take(demands, states, NOW)[0]


@given(several())
def test_shadow_buckets_never_block(case: tuple[list[Demand], list[State | None]]) -> None:
    demands, states = case
    shadow = [Demand(each.key, replace(each.charge, enforced=False)) for each in demands]
    assert take(shadow, states, NOW)[0].allowed


@given(several())
def test_shadow_buckets_change_nothing_for_enforced_ones(case: tuple[list[Demand], list[State | None]]) -> None:
    demands, states = case
    enforced = [position for position, demand in enumerate(demands) if demand.charge.enforced]
    decision, written = take(demands, states, NOW)
    alone, alone_written = take([demands[i] for i in enforced], [states[i] for i in enforced], NOW)
    assert decision.allowed == alone.allowed
    assert tuple(written[i] for i in enforced) == alone_written


def test_a_shadow_bucket_is_charged_only_when_all_enforced_ones_pay() -> None:
    shadow = Demand(b"shadow", Charge.of("shadow", TEN, enforced=False))
    empty = State(NOW + TEN.capacity, TEN.interval)
    decision, written = take([shadow, Demand(b"user", Charge.of("user", TEN))], [None, empty], NOW)
    assert (decision.allowed, decision.refused, written) == (False, (1,), (None, None))
    decision, written = take([shadow, Demand(b"user", Charge.of("user", TEN))], [empty, None], NOW)
    assert (decision.allowed, decision.refused) == (True, (0,))
    assert written == (None, State(NOW + TEN.interval, TEN.interval))


@given(quotas, checks, st.integers(0, 5))
def test_refused_checks_change_nothing(quota: Quota, plan: list[tuple[int, int, int, int]], hammering: int) -> None:
    """However often a caller is refused in between, the other checks come out the same."""
    calm = hammered = None
    for now, cost in timed(quota, plan):
        for _ in range(hammering):
            allowed, hammered = spend(quota, hammered, now, quota.burst + 1)
            assert not allowed
        calm_allowed, calm = spend(quota, calm, now, cost)
        allowed, hammered = spend(quota, hammered, now, cost)
        assert (allowed, hammered) == (calm_allowed, calm)


def test_no_demands_are_allowed() -> None:
    assert take([], [], NOW) == (Decision(allowed=True, now=NOW, owed=(), refused=()), ())


def test_demands_and_states_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="are not pairs"):
        take([Demand(b"bucket", Charge.of("limit", TEN))], [], NOW)


# A quota that changes.


@given(permitted_quotas(), permitted_quotas(), st.data())
def test_a_changed_rate_keeps_what_was_spent(old: Quota, new: Quota, data: st.DataObject) -> None:
    """So many tokens owed stay so many, to the microsecond, even if the new bucket holds fewer."""
    debt = data.draw(st.integers(1, old.capacity))
    exact = Fraction(debt * new.interval, old.interval)
    owed = owe(State(NOW + debt, old.interval), new, NOW)
    assert 0 <= owed <= LARGEST_DEBT
    assert abs(owed - min(math.ceil(exact), LARGEST_DEBT)) <= 1


@given(permitted_quotas(), permitted_quotas(), st.data())
def test_a_whole_number_of_tokens_is_converted_exactly(old: Quota, new: Quota, data: st.DataObject) -> None:
    tokens = data.draw(st.integers(1, old.burst))
    assert owe(State(NOW + tokens * old.interval, old.interval), new, NOW) == min(tokens * new.interval, LARGEST_DEBT)


@given(permitted_quotas(), permitted_quotas(), st.data())
def test_the_conversion_needs_only_what_luas_doubles_do_alike(old: Quota, new: Quota, data: st.DataObject) -> None:
    """The same steps in nothing but IEEE doubles, as `take.lua` does them."""
    debt = float(data.draw(st.integers(1, old.capacity)))
    tokens = float(debt // float(old.interval))
    part = math.fmod(debt, float(old.interval))
    converted = tokens * float(new.interval) + math.ceil(part * float(new.interval) / float(old.interval))
    if old.interval == new.interval:
        converted = debt
    assert min(converted, float(LARGEST_DEBT)) == owe(State(NOW + int(debt), old.interval), new, NOW)


@given(quotas, quotas, checks)
def test_a_changed_quota_gives_at_most_one_new_burst(
    old: Quota, new: Quota, plan: list[tuple[int, int, int, int]]
) -> None:
    _, state = spend(old, None, NOW, old.burst)
    total = 0
    for now, cost in timed(new, plan):
        allowed, state = spend(new, state, now, cost)
        total += cost if allowed else 0
        assert total <= new.burst + (now - NOW) // new.interval


@given(quotas, st.integers(1, 8))
def test_a_larger_burst_gives_the_difference_at_once(old: Quota, more: int) -> None:
    _, state = spend(old, None, NOW, old.burst)
    larger = Quota(old.rate, old.burst + more)
    assert not spend(larger, state, NOW, more + 1)[0]
    assert spend(larger, state, NOW, more)[0]


@given(quotas, st.integers(1, 8), st.integers(1, 8))
def test_a_smaller_burst_locks_nobody_out_for_longer_than_the_old_one_took_to_fill(
    old: Quota, burst: int, spent: int
) -> None:
    smaller = Quota(old.rate, min(burst, old.burst))
    _, state = spend(old, None, NOW, min(spent, old.burst))
    assert owe(state, smaller, NOW) == min(spent, old.burst) * old.interval
    assert spend(smaller, state, NOW + old.capacity, smaller.burst)[0]


# A clock that steps back.


@given(quotas, checks, st.lists(st.integers(-20, 20), min_size=40, max_size=40))
def test_a_clock_that_steps_back_mints_nothing(
    quota: Quota, plan: list[tuple[int, int, int, int]], steps: list[int]
) -> None:
    """Only an instant later than all before refills."""
    state, total, charged = None, 0, list[int]()
    for (now, cost), step in zip(timed(quota, plan), steps, strict=False):
        stepped = now + step * quota.interval // 2
        allowed, state = spend(quota, state, stepped, cost)
        if allowed and cost:
            total += cost
            charged.append(stepped)
            assert total <= quota.burst + (max(charged) - charged[0]) // quota.interval


@given(quotas, st.integers(1, 8), st.integers(0, 10**9), st.integers(1, 8))
def test_a_clock_that_steps_back_delays_nobody_by_more_than_the_step(
    quota: Quota, spent: int, step: int, cost: int
) -> None:
    _, state = spend(quota, None, NOW, min(spent, quota.burst))
    cost = min(cost, quota.burst)
    wait = max(0, owe(state, quota, NOW) + cost * quota.interval - quota.capacity)
    stepped = NOW - step
    allowed, after = spend(quota, state, stepped, cost)
    assert allowed or after == state
    assert spend(quota, state, stepped + step + wait, cost)[0]


@given(permitted_quotas(), st.integers(0, YEAR_2100))
def test_what_a_bucket_owes_can_be_added_to_any_instant(quota: Quota, full_at: int) -> None:
    assert 0 <= owe(State(full_at, quota.interval), quota, NOW) <= LARGEST_DEBT


# Numbers.


@given(permitted_quotas(), st.integers(1, 2**60), st.integers(0, YEAR_2100), st.data())
def test_all_numbers_stay_exact_in_a_double(quota: Quota, cost: int, now: int, data: st.DataObject) -> None:
    """For every quota that is permitted, until the year 2100, whatever the cost."""
    charge = Charge.of("limit", quota, cost)
    debt = data.draw(st.integers(0, quota.capacity))
    _, (state,) = take([Demand(b"bucket", charge)], [State(now + debt, quota.interval)], now)
    assert debt + charge.due < LARGEST
    assert state is None or now < state.full_at <= now + quota.capacity < LARGEST


@given(permitted_quotas(), permitted_quotas())
def test_conversions_stay_exact_in_a_double_where_they_count(old: Quota, new: Quota) -> None:
    """A product above 2**53 is above every capacity, so only the bound is left of it."""
    assert new.capacity <= LARGEST_DEBT
    tokens = old.capacity // old.interval
    assert float(tokens * new.interval) == tokens * new.interval or tokens * new.interval > new.capacity


@given(st.integers(1, 2**53), st.integers(1, 2**53))
def test_a_state_of_any_age_and_interval_is_read_without_failing(full_at: int, interval: int) -> None:
    """Whatever an older gateway has left in Redis."""
    assume(interval != TEN.interval)
    assert 0 <= owe(State(full_at, interval), TEN, 0) <= LARGEST_DEBT


@given(permitted_quotas(), st.data())
def test_a_bucket_is_nearly_spent_with_less_than_a_fifth_of_its_burst(quota: Quota, data: st.DataObject) -> None:
    edge = quota.capacity * 4 // 5
    debt = data.draw(st.integers(0, quota.capacity) | st.integers(max(0, edge - 2), min(quota.capacity, edge + 2)))
    assert (debt > quota.nearly_spent) == (Fraction(quota.capacity - debt, quota.capacity) < Fraction(1, 5))
