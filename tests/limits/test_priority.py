"""What a reserve changes: it lowers what requests of less priority can take from a bucket, and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.bucket import State, take
from gateway.limits.charge import Charge, Demand
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.explanation import explain
from gateway.limits.limit import Candidate, Limit
from gateway.limits.override import Effect, Override, Overrides
from gateway.limits.priority import Priority, Reserve, priority_of
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.remaining import remaining_in
from gateway.limits.rules import Rules
from gateway.limits.rules_diff import diff_rules, inventory, touched_limits
from gateway.limits.runners_up import Request
from tests.kit.identity import make_identity

NOW = 1_700_000_000_000_000
TEN = Quota(Rate(1, 1), 10)
IDENTITY = make_identity(hash_key=b"k" * 16)
HALF = Reserve(0.2, 0.5)
ENDPOINTS = [
    Endpoint("checkout", Template.parse("/checkout"), priority=Priority.HIGH),
    Endpoint("export", Template.parse("/export"), priority=Priority.LOW),
]

quotas = st.builds(Quota, st.builds(Rate, st.integers(1, 5), st.integers(1, 5)), st.integers(1, 6))
reserves = st.floats(0, 0.99)
requests = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 3), reserves), max_size=40)


def play(quota: Quota, made: list[tuple[int, int, float]]) -> list[bool]:
    """Whether each request is allowed; each comes so many microseconds after the one before."""
    state, now, allowed = None, NOW, []
    for after, cost, reserve in made:
        now += after
        decision, (written,) = take([Demand(b"a", Charge.of("x", quota, cost, reserve=reserve))], [state], now)
        state = written or state
        allowed.append(decision.allowed)
    return allowed


@given(quotas, st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(0, 3)), max_size=40), reserves)
def test_a_caller_of_one_priority_has_a_smaller_bucket_with_the_same_rate(
    quota: Quota, made: list[tuple[int, int]], reserve: float
) -> None:
    """So no window admits more than without a reserve."""
    charge = Charge.of("x", quota, reserve=reserve)
    state, now, admitted = None, NOW, []
    for after, cost in made:
        now += after
        decision, (written,) = take([Demand(b"a", charge.with_cost(cost))], [state], now)
        state = written or state
        if decision.allowed:
            admitted.append((now, cost))
    for first, (start, _) in enumerate(admitted):
        total = 0
        for end, cost in admitted[first:]:
            total += cost
            assert total * quota.interval <= charge.ceiling + (end - start)


@given(quotas, st.none() | st.integers(0, 30_000_000), st.integers(0, 8), reserves, reserves)
def test_a_ceiling_only_lowers_what_is_admitted(
    quota: Quota, debt: int | None, cost: int, one: float, other: float
) -> None:
    """From the same bucket, whatever it owes: what passes at a larger reserve passes at a smaller one."""
    state = None if debt is None else State(NOW + debt, quota.interval)
    less, more = sorted((one, other))
    at_more, written = take([Demand(b"a", Charge.of("x", quota, cost, reserve=more))], [state], NOW)
    at_less, as_written = take([Demand(b"a", Charge.of("x", quota, cost, reserve=less))], [state], NOW)
    assert at_less.allowed or not at_more.allowed
    assert at_less.owed == at_more.owed
    if at_more.allowed:
        assert written == as_written


@given(quotas, requests)
def test_with_a_reserve_of_0_nothing_differs(quota: Quota, made: list[tuple[int, int, float]]) -> None:
    assert Charge.of("x", quota, 2, reserve=0.0) == Charge.of("x", quota, 2)
    owed, now = 0, NOW
    for passed, (after, cost, _) in zip(play(quota, [(*each[:2], 0.0) for each in made]), made, strict=True):
        now, owed = now + after, max(0, owed - after)
        assert passed is (owed + cost * quota.interval <= quota.capacity)
        owed += cost * quota.interval * passed


@given(quotas, st.integers(0, 30_000_000), reserves)
def test_what_is_free_passes_whatever_is_kept(quota: Quota, debt: int, reserve: float) -> None:
    charge = Charge.of("x", quota, 0, reserve=reserve)
    decision, written = take([Demand(b"a", charge)], [State(NOW + debt, quota.interval)], NOW)
    assert (decision.allowed, written) == (True, (None,))
    assert charge.payable_at(decision.owed[0], NOW) == NOW


def rules_of(limit: Limit, **priorities: Priority) -> Rules:
    return Rules(ENDPOINTS, [limit], priorities=priorities)


def passes(rules: Rules, endpoint: str, tier: str | None, times: int, buckets: dict[bytes, State]) -> int:
    """How many of a user's requests pass at once."""
    passed = 0
    for _ in range(times):
        demands = rules.demands(rules.endpoints[endpoint], IDENTITY.user("ana", tier))
        decision, states = take(demands, [buckets.get(each.key) for each in demands], NOW)
        buckets |= {each.key: state for each, state in zip(demands, states, strict=True) if state is not None}
        passed += decision.allowed
    return passed


def test_what_is_kept_is_there_for_who_matters_more() -> None:
    rules, buckets = rules_of(Limit("each", ("user",), TEN, reserve=HALF)), dict[bytes, State]()
    assert passes(rules, "export", None, 9, buckets) == 5
    assert passes(rules, "default", None, 9, buckets) == 3
    assert passes(rules, "checkout", None, 9, buckets) == 2


def test_the_priority_of_an_endpoint_comes_before_that_of_a_tier() -> None:
    assert priority_of(Priority.LOW, Priority.HIGH) is Priority.LOW
    limit = Limit("all", ("endpoint",), TEN, reserve=HALF)
    rules = rules_of(limit, gold=Priority.HIGH, free=Priority.LOW)
    assert rules.tiers == {"gold", "free"}
    for tier, expected in (("gold", 10), ("free", 5), ("other", 8), (None, 8)):
        assert passes(rules, "default", tier, 20, {}) == expected
        assert passes(rules, "checkout", tier, 20, {}) == 10
        assert passes(rules, "export", tier, 20, {}) == 5


def test_a_tier_has_its_own_quota_and_a_candidate_the_reserve_of_its_limit() -> None:
    candidate = Candidate(Quota(Rate(1, 1), 4), {"gold": Quota(Rate(1, 1), 6)})
    limit = Limit("each", ("user",), TEN, tiers={"gold": Quota(Rate(1, 1), 20)}, reserve=HALF, candidate=candidate)
    for rules in (rules_of(limit), rules_of(replace(limit, enforce=0.5)).as_if_enforced()):
        assert [
            [demand.charge.most for demand in rules.demands(rules.endpoints["export"], IDENTITY.user("ana", tier))]
            for tier in (None, "gold")
        ] == [[5, 2], [10, 3]]


def test_the_reserve_is_kept_under_an_override() -> None:
    override = Override(Effect.QUOTA, NOW, "order", quota=Quota(Rate(1, 1), 40))
    rules = rules_of(Limit("each", ("user",), TEN, reserve=HALF))
    rules = rules.with_overrides(Overrides({IDENTITY.user("ana").digest: override}))
    assert passes(rules, "export", None, 50, {}) == 20


def test_what_is_left_is_left_for_that_priority() -> None:
    rules = rules_of(Limit("each", ("user",), TEN, reserve=HALF))
    for endpoint, left in (("export", 4), ("default", 7), ("checkout", 9)):
        demands = rules.demands(rules.endpoints[endpoint], IDENTITY.user("ana"))
        decision, _ = take(demands, [None], NOW)
        (bucket,) = remaining_in(demands, decision)
        assert bucket.remaining == left
    assert demands[0].charge.payable_at(0, NOW) == NOW
    charge = rules.demands(rules.endpoints["export"], IDENTITY.user("ana"))[0].charge
    assert charge.payable_at(7_000_000, NOW) == NOW + 3_000_000
    assert charge.with_cost(6).payable_at(0, NOW) is None


def test_an_explanation_has_the_priority() -> None:
    rules = rules_of(Limit("each", ("user",), TEN, reserve=HALF), gold=Priority.HIGH)
    request = Request("GET", "", ("export",))
    for endpoint, expected in (("export", Priority.LOW), ("default", Priority.HIGH)):
        found = explain(rules, rules.endpoints[endpoint], request, IDENTITY.user("ana", "gold"), ())
        assert found.priority is expected


def test_a_changed_reserve_or_priority_is_a_difference() -> None:
    old = rules_of(Limit("each", ("user",), TEN), gold=Priority.HIGH)
    new = Rules(
        [ENDPOINTS[0], replace(ENDPOINTS[1], priority=None)],
        [Limit("each", ("user",), TEN, reserve=HALF), Limit("other", ("user",), TEN)],
        priorities={"gold": Priority.LOW, "free": Priority.LOW},
    )
    changed = diff_rules(old, new)
    (limit,) = changed["limits"]["changed"]
    assert (limit["before"], limit["after"]) == ({"reserve": None}, {"reserve": {"normal": "20%", "low": "50%"}})
    (endpoint,) = changed["endpoints"]["changed"]
    assert (endpoint["before"], endpoint["after"]) == ({"priority": "low"}, {"priority": None})
    assert changed["tiers"] == {
        "added": ["free"],
        "removed": [],
        "changed": [{"name": "gold", "before": {"priority": "high"}, "after": {"priority": "low"}}],
    }
    assert inventory(new)["tiers"] == [{"name": "free", "priority": "low"}, {"name": "gold", "priority": "low"}]
    only_tiers = diff_rules(new, Rules(new.endpoints.values(), new.limits))
    assert touched_limits(only_tiers, new) == ["each"]


def test_low_priority_leaves_no_less_than_normal() -> None:
    with pytest.raises(ValueError, match="at least as much"):
        Reserve(0.5, 0.2)
