"""Limits of requests at once, as rules: whose they are, how many, and what a request is charged."""

import pytest

from gateway.limits.at_once import AtOnce
from gateway.limits.bucket import Decision, State, judge, owe, owing, take
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.in_flight import InFlight, without_slots
from gateway.limits.limit import Exemption, Limit, Missing
from gateway.limits.override import Effect, Override, Overrides
from gateway.limits.quota import Quota, quota_fields
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from tests.kit.identity import make_identity

FOUR = Quota(AtOnce(), 4)
REPORT = Endpoint("report", Template.parse("/report"), cost=50)
RATE = Limit("rate", ("user",), Quota(Rate(1, 1), 100))


def rules(*limits: Limit) -> Rules:
    return Rules([REPORT], limits)


def test_time_takes_nothing_from_it_and_the_end_of_a_request_does() -> None:
    assert owe(State(3, 1), FOUR, 0) == owe(State(3, 1), FOUR, 2**50) == 3
    assert owing(FOUR, 3, 2**50) == State(3, 1)
    (demand,) = rules(Limit("a", (), FOUR)).demands(REPORT, make_identity().user("ana"))
    admitted = [take([demand], [State(number, 1) if number else None], 7)[0].allowed for number in range(6)]
    assert admitted == [True] * 4 + [False] * 2


def test_a_request_takes_one_place_whatever_it_costs_and_its_price_of_rates() -> None:
    demands = rules(Limit("a", ("user",), FOUR), RATE).demands(REPORT, make_identity().user("ana"))
    assert [(each.charge.limit, each.charge.cost, each.charge.due) for each in demands] == [
        ("a", 1, 1), ("rate", 50, 50_000_000),
    ]  # fmt: skip
    assert without_slots(demands) == demands[1:]
    assert demands[0].charge.refunds
    assert b"+at-once" in demands[0].key


@pytest.mark.parametrize("per", [("user",), ("endpoint",), (), ("user", "endpoint"), ("org",)])
def test_it_is_per_whatever_a_rate_is_per(per: tuple[str, ...]) -> None:
    made = rules(Limit("a", per, FOUR, if_missing=Missing.SHARED))
    ana = make_identity().user("ana", attributes={"org": "acme"}, holders=made.holders)
    assert [each.charge.quota for each in made.demands(REPORT, ana)] == [FOUR]


def test_tiers_overrides_and_exemptions_are_as_for_rates() -> None:
    identity = make_identity()
    limit = Limit(
        "a", ("user",), FOUR, tiers={"gold": Quota(AtOnce(), 9)}, exempt=Exemption(users=frozenset({"robot"}))
    )
    plain = rules(limit, RATE)
    ana, gold, robot = identity.user("ana"), identity.user("ben", "gold"), identity.user("robot")
    assert plain.demands(REPORT, gold)[0].charge.quota.burst == 9
    assert [each.charge.limit for each in plain.demands(REPORT, robot)] == ["rate"]
    changed = Override(Effect.QUOTA, 2**60, "sale", quota=Quota(AtOnce(), 7))
    at_once, rate = plain.with_overrides(Overrides({ana.digest: changed})).demands(REPORT, ana)
    assert (at_once.charge.quota.burst, rate.charge.quota) == (7, RATE.quota)
    other = Override(Effect.QUOTA, 2**60, "sale", quota=Quota(Rate(9, 1), 9))
    at_once, rate = plain.with_overrides(Overrides({ana.digest: other})).demands(REPORT, ana)
    assert (at_once.charge.quota, rate.charge.quota.burst) == (FOUR, 9)


def test_endpoints_under_it_have_something_to_settle_and_others_do_not() -> None:
    assert rules(Limit("a", (), FOUR, frozenset({"report"}))).settling == {"report"}
    assert rules(RATE).settling == frozenset()


def test_what_is_held_is_released_by_the_same_decision() -> None:
    demands = rules(Limit("a", ("user",), FOUR), RATE, Limit("b", (), FOUR, enforce=0.0)).demands(
        REPORT, make_identity().user("ana")
    )
    in_flight = InFlight()
    both = judge(demands, [0, 0, 0], 7)
    one = Decision(True, 7, (1, 0, 4), (2,))
    in_flight.hold(demands, both)
    in_flight.hold(demands, one)
    assert dict(in_flight.by_limit) == {"a": 2, "b": 1}
    assert in_flight.release(demands, both) == [demands[0].key, demands[2].key]
    assert in_flight.release(demands, one) == [demands[0].key]
    assert len(in_flight) == 0


def test_it_is_shown_as_what_it_is() -> None:
    assert (str(FOUR), quota_fields(FOUR), FOUR.unit) == ("4 at once", {"at_once": 4}, "at once")
    assert FOUR.full_at(3, 7) == 7
    (demand,) = rules(Limit("a", (), FOUR)).demands(REPORT, make_identity().user("ana"))
    assert [demand.charge.payable_at(owed, 7) for owed in (3, 4)] == [7, None]
