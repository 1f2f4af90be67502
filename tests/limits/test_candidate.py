"""What a candidate changes, which is nothing, and for whom a limit with a share of callers is enforced."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.bucket import State, take
from gateway.limits.caller import Caller
from gateway.limits.limit import Candidate, Limit
from gateway.limits.override import Effect, Override, Overrides
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.limits.rules_diff import diff_rules
from tests.kit.identity import make_identity

LIVE = Limit("each", ("user",), Quota(Rate(1, 1), 3))
STRICT = Candidate(Quota(Rate(1, 2), 1), {"gold": Quota(Rate(1, 1), 2)})
IDENTITY = make_identity(hash_key=b"k" * 16)
ANA = IDENTITY.user("ana")

quotas = st.builds(Quota, st.builds(Rate, st.integers(1, 5), st.integers(1, 5)), st.integers(1, 5))
requests = st.lists(st.tuples(st.integers(0, 3_000_000), st.sampled_from(["ana", "bob"])), max_size=40)


def play(rules: Rules, made: list[tuple[int, str]]) -> list[bool]:
    """Whether each request is allowed; each comes so many microseconds after the one before."""
    buckets: dict[bytes, State] = {}
    now = 1_700_000_000_000_000
    allowed = []
    for after, user in made:
        now += after
        demands = rules.demands(rules.default, IDENTITY.user(user))
        decision, states = take(demands, [buckets.get(each.key) for each in demands], now)
        buckets |= {each.key: state for each, state in zip(demands, states, strict=True) if state is not None}
        allowed.append(decision.allowed)
    return allowed


@given(live=quotas, other=quotas, share=st.sampled_from([0.0, 0.5, 1.0]), made=requests)
def test_a_candidate_changes_no_decision(live: Quota, other: Quota, share: float, made: list[tuple[int, str]]) -> None:
    limit = Limit("each", ("user",), live, enforce=share)
    assert play(Rules(limits=[replace(limit, candidate=Candidate(other))]), made) == play(Rules(limits=[limit]), made)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=2), st.text(min_size=1))
def test_who_is_refused_at_a_share_is_refused_at_each_larger_one(shares: list[float], user: str) -> None:
    small, large = (replace(LIVE, enforce=share) for share in sorted(shares))
    digest = IDENTITY.user(user).digest
    assert large.enforces(digest) or not small.enforces(digest)


@pytest.mark.parametrize("share", [0.0, 0.005, 0.1, 0.5, 1.0])
def test_the_share_of_callers_who_are_refused_is_the_one_asked_for(share: float) -> None:
    limit = replace(LIVE, enforce=share)
    found = sum(limit.enforces(IDENTITY.user(f"user-{number}").digest) for number in range(20_000)) / 20_000
    assert found == pytest.approx(share, abs=0.01)
    assert share not in {0.0, 1.0} or found == share


def demands_of(limit: Limit, caller: Caller = ANA, overrides: Overrides | None = None) -> list[tuple[bytes, int, bool]]:
    rules = Rules(limits=[limit]).with_overrides(overrides or Overrides())
    demands = rules.demands(rules.default, caller)
    return [(each.key, each.charge.quota.burst, each.charge.enforced) for each in demands]


def test_the_live_bucket_is_the_same_with_and_without_a_candidate_and_at_each_share() -> None:
    key = demands_of(LIVE)[0][0]
    assert demands_of(replace(LIVE, candidate=STRICT))[0][0] == key
    assert {demands_of(replace(LIVE, enforce=share))[0][0] for share in (0.0, 0.1, 0.9)} == {key}
    assert demands_of(replace(LIVE, candidate=STRICT))[1] == (b"each+candidate:*:" + ANA.digest, 1, False)


def test_each_endpoint_has_a_candidate_bucket_of_its_own() -> None:
    limit = replace(LIVE, per=("user", "endpoint"), candidate=STRICT)
    assert demands_of(limit)[1][0] == b"each+candidate:default:" + ANA.digest


def test_a_candidate_has_its_own_tiers_and_the_overrides_of_its_limit() -> None:
    limit = replace(LIVE, candidate=STRICT)
    assert [burst for _, burst, _ in demands_of(limit, IDENTITY.user("ana", "gold"))] == [3, 2]
    override = Override(Effect.QUOTA, 2**60, "more", limits=frozenset({"each"}), quota=Quota(Rate(9, 1), 9))
    assert [burst for _, burst, _ in demands_of(limit, ANA, Overrides({ANA.digest: override}))] == [9, 9]


def test_a_caller_outside_the_share_is_only_counted() -> None:
    limit = replace(LIVE, enforce=0.5)
    callers = [IDENTITY.user(f"user-{number}") for number in range(50)]
    assert {limit.enforces(each.digest) for each in callers} == {True, False}
    assert all(demands_of(limit, each)[0][2] is limit.enforces(each.digest) for each in callers)
    enforced = Rules(limits=[limit]).as_if_enforced()
    assert all(enforced.demands(enforced.default, each)[0].charge.enforced for each in callers)


def test_a_share_and_a_candidate_that_change_are_in_the_difference() -> None:
    old, new = Rules(limits=[LIVE]), Rules(limits=[replace(LIVE, enforce=0.1, candidate=STRICT)])
    (changed,) = diff_rules(old, new)["limits"]["changed"]
    assert changed["before"] == {"enforce": True, "candidate": None}
    assert changed["after"] == {
        "enforce": "10%",
        "candidate": {"rate": "1/2s", "burst": 1, "tiers": {"gold": {"rate": "1/s", "burst": 2}}},
    }
