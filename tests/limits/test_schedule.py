"""Schedules: which entry counts when, also where clocks change, and what becomes of a bucket at the change."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.bucket import State, owe, take
from gateway.limits.calendar import UTC_ZONE
from gateway.limits.charge import Charge, Demand
from gateway.limits.limit import Limit
from gateway.limits.override import Effect, Override, Overrides
from gateway.limits.quota import Quota
from gateway.limits.rate import MICROSECONDS, Rate
from gateway.limits.rules import Rules
from gateway.limits.rules_diff import diff_rules, inventory
from gateway.limits.schedule import EVERY_DAY, Scheduled, Span, in_force, never_in_force, next_change
from tests.kit.identity import make_identity

BERLIN = ZoneInfo("Europe/Berlin")
DAY, NIGHT = Quota(Rate(10, 60), 10), Quota(Rate(100, 60), 50)
ZONES = [UTC_ZONE, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu")]
HOUR = 3600 * MICROSECONDS


def instant(text: str, zone: ZoneInfo = UTC_ZONE) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * MICROSECONDS


spans = st.builds(
    Span,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.sampled_from(ZONES),
).filter(lambda span: span.begins != span.ends)
schedules = st.lists(
    st.builds(Scheduled, st.lists(spans, min_size=1, max_size=2).map(tuple), st.just(NIGHT)), min_size=1, max_size=3
)
instants = st.integers(instant("2026-01-01"), instant("2027-01-01")).map(lambda at: at - at % MICROSECONDS)


@given(schedules, instants, st.lists(st.floats(0, 1), min_size=30, max_size=30))
def test_nothing_changes_before_the_next_change_and_then_something_does(
    schedule: list[Scheduled], now: int, parts: list[float]
) -> None:
    change = next_change(schedule, now)
    current, end = in_force(schedule, now), change or now + 8 * 24 * HOUR
    if change is not None:
        assert change > now
        assert in_force(schedule, change) != current
        assert in_force(schedule, change - 1) == current
    assert all(in_force(schedule, now + int(part * (end - 1 - now))) == current for part in parts)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (Span(frozenset({5, 6})), ["2026-11-28", "2026-11-29T23:59:59"], ["2026-11-27T23:59:59", "2026-11-30"]),
        (
            Span(EVERY_DAY, 1320, 360),
            ["2026-11-26T22:00", "2026-11-27T05:59"],
            ["2026-11-26T21:59", "2026-11-26T06:00"],
        ),
        (Span(frozenset({4}), 1320, 360), ["2026-11-27T22:00", "2026-11-28T05:59"], ["2026-11-27T05:59"]),
        (Span(EVERY_DAY, 540, 1020, BERLIN), ["2026-07-01T07:00", "2026-01-01T08:00"], ["2026-01-01T07:59"]),
    ],
)
def test_a_span_holds_by_the_clock_on_the_wall(span: Span, inside: list[str], outside: list[str]) -> None:
    assert all(span.holds(instant(each)) for each in inside)
    assert not any(span.holds(instant(each)) for each in outside)


@pytest.mark.parametrize(("evening", "hours"), [("2026-03-28", 7), ("2026-10-24", 9), ("2026-06-01", 8)])
def test_a_night_has_as_many_hours_as_it_really_has(evening: str, hours: int) -> None:
    schedule = [Scheduled((Span(EVERY_DAY, 1320, 360, BERLIN),), NIGHT)]
    begin = next_change(schedule, instant(f"{evening}T12:00", BERLIN))
    assert begin == instant(f"{evening}T22:00", BERLIN)
    assert next_change(schedule, begin) == begin + hours * HOUR


def test_a_time_that_a_day_does_not_have_is_left_out_and_one_that_comes_twice_holds_twice() -> None:
    schedule = [Scheduled((Span(EVERY_DAY, 120, 180, BERLIN),), NIGHT)]
    assert next_change(schedule, instant("2026-03-28T12:00", BERLIN)) == instant("2026-03-30T02:00", BERLIN)
    begin = instant("2026-10-25T02:00", BERLIN)
    assert next_change(schedule, instant("2026-10-24T12:00", BERLIN)) == begin
    assert next_change(schedule, begin) == begin + 2 * HOUR


def test_of_two_entries_the_first_counts() -> None:
    weekend = Scheduled((Span(frozenset({5, 6})),), DAY)
    night = Scheduled((Span(EVERY_DAY, 1320, 360),), NIGHT)
    at = instant("2026-11-28T23:00")
    assert in_force([weekend, night], at) == in_force([night, weekend], at) == 0
    assert in_force([weekend, night], instant("2026-11-27T23:00")) == 1
    assert next_change([Scheduled((Span(),), NIGHT)], at) is None


def scheduled_rules() -> Rules:
    night = Scheduled((Span(EVERY_DAY, 1320, 360),), NIGHT, {"gold": Quota(Rate(200, 60), 99), "free": NIGHT})
    return Rules(limits=[Limit("each", ("user",), DAY, tiers={"gold": NIGHT, "free": DAY}, schedule=(night,))])


def test_rules_have_what_is_in_force_and_when_it_changes() -> None:
    identity = make_identity(hash_key=b"k" * 16)
    rules = scheduled_rules()
    for at, expected, change in (
        ("2026-11-26T12:00", {None: 10, "gold": 50, "free": 10}, "2026-11-26T22:00"),
        ("2026-11-26T22:00", {None: 50, "gold": 99, "free": 50}, "2026-11-27T06:00"),
    ):
        rules = rules.at(instant(at))
        assert rules.changes_at == instant(change)
        for tier, burst in expected.items():
            (demand,) = rules.demands(rules.default, identity.user("ana", tier))
            assert demand.charge.quota.burst == burst
    other = rules.with_overrides(
        Overrides({identity.user("ana").digest: Override(Effect.QUOTA, 2**60, "x", quota=Quota(Rate(1, 1), 3))})
    ).at(instant("2026-11-27T12:00"))
    assert other.demands(other.default, identity.user("ana"))[0].charge.quota.burst == 3
    assert other.demands(other.default, identity.user("bob"))[0].charge.quota == DAY
    assert Rules(limits=[Limit("each", ("user",), DAY)]).at(0).changes_at is None


quotas = st.builds(Quota, st.builds(Rate, st.integers(1, 100), st.integers(1, 60)), st.integers(1, 20))


@given(quotas, quotas, st.integers(0, 20), st.integers(0, 20))
def test_what_is_owed_carries_over_in_tokens(old: Quota, new: Quota, spent: int, cost: int) -> None:
    """So a change of rate refills nothing and takes nothing: of 8 tokens spent, 8 are spent after it."""
    now = instant("2026-11-26T22:00")
    spent = min(spent, old.burst)
    state = State(now + spent * old.interval, old.interval) if spent else None
    assert owe(state, new, now) == spent * new.interval
    decision, _ = take([Demand(b"a", Charge.of("x", new, cost))], [state], now)
    assert decision.allowed is (min(spent, new.burst) + cost <= new.burst)


def test_a_changed_schedule_is_a_difference_and_the_inventory_has_what_is_in_force() -> None:
    rules, plain = scheduled_rules(), Rules(limits=[Limit("each", ("user",), DAY, tiers={"gold": NIGHT, "free": DAY})])
    (changed,) = diff_rules(plain, rules)["limits"]["changed"]
    assert changed["before"] == {"schedule": []}
    (entry,) = changed["after"]["schedule"]
    assert (entry["during"], entry["rate"]) == (["every day 22:00 to 06:00, UTC"], str(NIGHT.rate))
    assert diff_rules(rules, scheduled_rules().at(instant("2026-11-26T23:00")))["limits"]["changed"] == []
    (shown,) = inventory(rules.at(instant("2026-11-26T23:00")))["limits"]
    assert (shown["burst"], shown["in_force"]) == (10, {"rate": str(NIGHT.rate), "burst": 50})
    assert "in_force" not in inventory(rules)["limits"][0]


@given(schedules, instants)
def test_what_is_never_in_force_is_not_in_force_at_any_instant(schedule: list[Scheduled], now: int) -> None:
    zones = {span.zone for entry in schedule for span in entry.during}
    if len(zones) == 1:  # several differ by another hour for some days of a year, when one has put its clocks forward
        assert in_force(schedule, now) not in never_in_force(schedule)
