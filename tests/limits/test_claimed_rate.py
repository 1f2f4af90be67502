"""Rates that callers state: what counts, what does not, and that nobody exceeds the largest."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.bucket import take
from gateway.limits.claimed_rate import ClaimedRate, Unusable
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Candidate, Exemption, Limit
from gateway.limits.override import Effect, Override, Overrides
from gateway.limits.priority import Priority, Reserve
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.limits.rules_diff import diff_rules, inventory
from tests.kit.identity import make_identity

IDENTITY = make_identity(hash_key=b"k" * 16)
OWN = Quota(Rate(60, 60), 30)
CLAIMED = ClaimedRate("rpm", Rate(6000, 60))
LIMIT = Limit("plan", ("user",), OWN, from_claim=CLAIMED)

VALUES = st.one_of(
    st.integers(-5, 7000).map(str),
    st.sampled_from(
        ["", " 5", "5 ", "1.5", "1e3", "+5", "0", "007", "1_0", "\u0665", "\u00b2", "9" * 15, "9" * 400, "-"]
    ),
    st.text(max_size=5),
)


def quota(value: str | None, limit: Limit = LIMIT, **more: Any) -> Quota:
    rules = Rules(limits=[limit], **more)
    caller = IDENTITY.user("ana", attributes={} if value is None else {"rpm": value})
    return rules.demands(rules.default, caller)[0].charge.quota


@pytest.mark.parametrize(
    ("value", "rate", "burst"),
    [
        ("600", 600, 300),
        ("6", 6, 3),
        ("1", 1, 1),
        ("6000", 6000, 3000),
        ("007", 7, 3),
        ("6001", 6000, 3000),
        ("60", 60, 30),
    ],
)
def test_the_number_counts_in_the_period_of_at_most_and_the_burst_is_in_proportion(
    value: str, rate: int, burst: int
) -> None:
    assert quota(value) == Quota(Rate(rate, 60), burst)


@pytest.mark.parametrize(
    "value", [None, "", "0", "000", "-5", "1.5", "1e3", " 5", "+5", "\u0665", "\u00b2", "9" * 16, "unlimited"]
)
def test_what_is_no_such_number_leaves_the_limits_own_rate(value: str | None) -> None:
    assert quota(value) == OWN
    expected = Unusable.MISSING if value is None else Unusable.INVALID
    assert CLAIMED.read({} if value is None else {"rpm": value}) is expected


@given(VALUES, st.integers(1, 10**6), st.sampled_from([1, 60, 3600]), st.integers(1, 10**6), st.integers(1, 10**6))
def test_nobody_exceeds_the_larger_of_at_most_and_the_own_rate(
    value: str, most: int, seconds: int, own: int, burst: int
) -> None:
    claimed, base = ClaimedRate("rpm", Rate(most, seconds)), Quota(Rate(own, 60), burst)
    found = claimed.quota(base, {"rpm": value})
    assert found == base or found.interval >= claimed.at_most.interval
    assert found.burst <= max(burst, burst * most * 60 // (own * seconds), 1)
    # A token takes a whole number of microseconds, rounded up: that is all that the time to fill can differ.
    assert found.burst == 1 or found.capacity <= base.capacity + found.burst + found.interval


@given(st.lists(st.sampled_from([None, "4", "6", "12", "9999999", "x"]), max_size=60))
def test_what_was_spent_stays_spent_when_the_claim_changes(made: list[str | None]) -> None:
    """At one instant a request passes if fewer tokens were spent than the burst of its own token's rate."""
    rules, state, spent = Rules(limits=[LIMIT]), None, 0
    for value in made:
        caller = IDENTITY.user("ana", attributes={} if value is None else {"rpm": value})
        (demand,) = rules.demands(rules.default, caller)
        decision, (written,) = take([demand], [state], 1_700_000_000_000_000)
        assert decision.allowed is (spent < demand.charge.quota.burst)
        spent += decision.allowed
        state = written or state


def test_equal_charges_are_one_object_and_what_is_remembered_is_bounded() -> None:
    rules = Rules(limits=[LIMIT])
    charges = [
        rules.demands(rules.default, IDENTITY.user(name, attributes={"rpm": str(rpm)}))[0].charge
        for name in ("ana", "bob")
        for rpm in (500, *range(1, 5000), 500)
    ]
    assert charges[0] is not charges[1]
    assert charges[-1] is rules.demands(rules.default, IDENTITY.user("eve", attributes={"rpm": "500"}))[0].charge
    assert len(rules._compiled["default"][0].claimed._known) <= 4096  # type: ignore[union-attr]


def test_a_claim_comes_before_the_tier_and_an_override_before_both() -> None:
    gold = Quota(Rate(120, 60), 60)
    tiered = Limit("plan", ("user",), OWN, tiers={"gold": gold}, from_claim=CLAIMED)
    rules = Rules(limits=[tiered])

    def found(attributes: dict[str, str]) -> Quota:
        ana = IDENTITY.user("ana", "gold", attributes=attributes)
        return rules.demands(rules.default, ana)[0].charge.quota

    assert found({}) == gold
    assert found({"rpm": "600"}) == Quota(Rate(600, 60), 300)
    set_ = Quota(Rate(7, 60), 7)
    override = Override(Effect.QUOTA, 2**60, "sale", quota=set_)
    rules = rules.with_overrides(Overrides({IDENTITY.user("ana").digest: override}))
    assert found({"rpm": "600"}) == set_


def test_candidates_have_their_own_quota_and_shadows_and_shares_the_claimed_one() -> None:
    candidate = Candidate(Quota(Rate(5, 60), 5))
    for enforce in (0.0, 0.5, 1.0):
        rules = Rules(limits=[Limit("plan", ("user",), OWN, enforce=enforce, candidate=candidate, from_claim=CLAIMED)])
        for name in ("ana", "bob", "cleo", "dan"):
            demands = rules.demands(rules.default, IDENTITY.user(name, attributes={"rpm": "600"}))
            assert [each.charge.quota for each in demands] == [Quota(Rate(600, 60), 300), candidate.quota]


def test_the_smallest_rate_leaves_a_token_to_each_priority() -> None:
    limit = Limit("plan", ("user",), OWN, reserve=Reserve(0.2, 0.9), from_claim=CLAIMED)
    slow = Endpoint("slow", Template.parse("/slow"), priority=Priority.LOW)
    rules = Rules([slow], [limit])
    (demand,) = rules.demands(slow, IDENTITY.user("ana", attributes={"rpm": "1"}))
    assert demand.charge.due <= demand.charge.ceiling


def test_only_an_identified_user_whom_the_limit_counts_is_reported() -> None:
    limit = Limit("plan", ("user",), OWN, endpoints=frozenset({"slow"}), exempt=Exemption(frozenset({"eve"})),
                  from_claim=CLAIMED)  # fmt: skip
    slow = Endpoint("slow", Template.parse("/slow"))
    rules = Rules([slow], [limit, Limit("other", ("user",), OWN)])

    def reported(name: str, attributes: dict[str, str], endpoint: Endpoint = slow) -> list[tuple[str, str, Unusable]]:
        return [(*each,) for each in rules.unusable_claims(endpoint, IDENTITY.user(name, attributes=attributes))]

    assert reported("ana", {"rpm": "600"}) == []
    assert reported("ana", {}) == [("plan", "rpm", Unusable.MISSING)]
    assert reported("ana", {"rpm": "-1"}) == [("plan", "rpm", Unusable.INVALID)]
    assert reported("ana", {"rpm": "60000"}) == [("plan", "rpm", Unusable.ABOVE_MOST)]
    assert reported("eve", {}) == []
    assert reported("ana", {}, rules.default) == []
    assert rules.unusable_claims(slow, IDENTITY.client(None)) == []


def test_a_difference_of_rules_and_their_inventory_name_it() -> None:
    plain, claiming = Rules(limits=[Limit("plan", ("user",), OWN)]), Rules(limits=[LIMIT])
    (change,) = diff_rules(plain, claiming)["limits"]["changed"]
    assert change["before"] == {"from_claim": None}
    assert change["after"] == {"from_claim": {"rate": "rpm", "at_most": "6000/minute"}}
    assert inventory(claiming)["limits"][0]["from_claim"] == change["after"]["from_claim"]
