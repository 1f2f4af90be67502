"""Days, weeks and months in time zones, and the quotas that come back with each."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.limits.bucket import State, take
from gateway.limits.calendar import DAY, MONTH, WEEK, Calendar, CalendarRate, parse_amount
from gateway.limits.charge import Charge, Demand
from gateway.limits.identity import Identity
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import MICROSECONDS
from gateway.limits.rules import Rules

HOUR = 3600 * MICROSECONDS
DAYS = 24 * HOUR

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # clocks change at midnight: it does not exist, or comes twice
    "America/Santiago",
    "Asia/Beirut",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # by half an hour
    "America/St_Johns",  # until 2011 a minute after midnight, back over the date line of the day
    "Pacific/Apia",  # left out a day in 2011
    "Pacific/Kiritimati",
)


def calendars() -> st.SearchStrategy[Calendar]:
    zones = st.sampled_from(ZONES).map(ZoneInfo)
    return (
        st.builds(Calendar, st.just(DAY), zones)
        | st.builds(Calendar, st.just(WEEK), zones, st.integers(1, 7))
        | st.builds(Calendar, st.just(MONTH), zones, st.integers(1, 31))
    )


def instant(zone: str, *local: int) -> int:
    return int(datetime(*local, tzinfo=ZoneInfo(zone)).timestamp()) * MICROSECONDS  # type: ignore[arg-type, misc]


instants = st.integers(instant("UTC", 1980, 1, 1), instant("UTC", 2060, 1, 1)) | st.sampled_from(
    [instant("UTC", year, month, day) for year in (2008, 2011, 2026) for month in (3, 9, 10, 12) for day in (1, 30)]
)


@given(calendars(), instants)
def test_every_instant_is_in_exactly_one_period(calendar: Calendar, now: int) -> None:
    starts = calendar.around(now)
    assert starts.this <= now < starts.next
    for other in (starts.this, starts.next - 1, (starts.this + starts.next) // 2):
        assert Calendar(calendar.unit, calendar.zone, calendar.from_day).around(other) == starts


@given(calendars(), instants)
def test_starts_are_monotone_and_periods_have_no_gaps(calendar: Calendar, now: int) -> None:
    previous, this, following, last = calendar.around(now)
    assert previous < this < following < last
    assert calendar.around(following)[:3] == (this, following, last)
    assert calendar.around(this - 1)[:3][1:] == (previous, this)


@given(calendars(), instants)
def test_a_period_begins_with_its_first_day_and_just_before_is_another_day(calendar: Calendar, now: int) -> None:
    start = calendar.start(now)
    assert start % MICROSECONDS == 0
    first, before = (datetime.fromtimestamp(at // MICROSECONDS, calendar.zone) for at in (start, start - MICROSECONDS))
    assert before.date() < first.date()
    if calendar.unit == MONTH:
        last_day = (first.date().replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        assert first.day == min(calendar.from_day, last_day.day) or calendar.zone.key == "Pacific/Apia"
    elif calendar.unit == WEEK and calendar.zone.key != "Pacific/Apia":
        assert first.isoweekday() == calendar.from_day


@given(calendars(), st.lists(instants, max_size=5))
def test_what_is_remembered_changes_nothing(calendar: Calendar, moments: list[int]) -> None:
    for now in moments:
        assert calendar.around(now) == Calendar(calendar.unit, calendar.zone, calendar.from_day).around(now)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2024, 3, 31), 23),
        ("Europe/Berlin", date(2024, 10, 27), 25),
        ("Europe/Berlin", date(2024, 7, 1), 24),
        ("America/Havana", date(2024, 3, 10), 23),  # begins at 01:00
        ("America/Havana", date(2024, 11, 3), 25),  # midnight comes twice
        ("America/Santiago", date(2024, 4, 6), 25),
        ("America/Santiago", date(2024, 9, 8), 23),
        ("Australia/Lord_Howe", date(2024, 10, 6), 23.5),
    ],
)
def test_a_day_is_as_long_as_clocks_say(zone: str, day: date, hours: float) -> None:
    """On days long past: for later ones, releases of the time zone database differ."""
    calendar = Calendar(DAY, ZoneInfo(zone))
    starts = calendar.around(instant(zone, day.year, day.month, day.day, 12))
    assert starts.next - starts.this == hours * HOUR
    assert datetime.fromtimestamp(starts.this // MICROSECONDS, calendar.zone).date() == day


def test_a_month_from_a_day_that_a_month_lacks_begins_with_its_last_day() -> None:
    calendar = Calendar(MONTH, ZoneInfo("UTC"), 31)
    starts = calendar.around(instant("UTC", 2027, 2, 10))
    assert starts[:3] == (instant("UTC", 2026, 12, 31), instant("UTC", 2027, 1, 31), instant("UTC", 2027, 2, 28))


def test_a_month_from_the_15th_and_a_week_from_sunday() -> None:
    month = Calendar(MONTH, ZoneInfo("Europe/Berlin"), 15).around(instant("UTC", 2026, 11, 14, 22, 59))
    assert month[1:3] == (instant("Europe/Berlin", 2026, 10, 15), instant("Europe/Berlin", 2026, 11, 15))
    week = Calendar(WEEK, ZoneInfo("UTC"), 7).around(instant("UTC", 2026, 11, 26))
    assert week[1:3] == (instant("UTC", 2026, 11, 22), instant("UTC", 2026, 11, 29))


@pytest.mark.parametrize(("unit", "from_day"), [(DAY, 2), (WEEK, 8), (WEEK, 0), (MONTH, 32), (MONTH, 0)])
def test_there_are_days_with_which_no_period_begins(unit: str, from_day: int) -> None:
    with pytest.raises(ValueError, match="is "):
        Calendar(unit, ZoneInfo("UTC"), from_day)


@pytest.mark.parametrize("tokens", [0, 10**10 + 1])
def test_a_quota_is_below_the_microseconds_of_any_day(tokens: int) -> None:
    with pytest.raises(ValueError, match="1 to 10000000000"):
        CalendarRate(tokens, Calendar(DAY, ZoneInfo("UTC")))


def test_an_amount_is_tokens_and_a_unit() -> None:
    assert parse_amount(" 100000 / month") == (100_000, MONTH)
    for wrong in ("100/hour", "100", "month", "-1/day", "1.5/day", "1/2day", "\u0661/day"):
        with pytest.raises(ValueError, match="is not a quota"):
            parse_amount(wrong)


def each(calendar: Calendar, tokens: int) -> Quota:
    return Quota.each_period(CalendarRate(tokens, calendar))


plans = st.lists(st.tuples(st.integers(0, 40 * DAYS), st.integers(0, 5)), max_size=30)


@given(calendars(), st.integers(1, 8), instants, plans)
def test_exactly_the_quota_can_be_used_in_each_period(
    calendar: Calendar, tokens: int, now: int, plan: list[tuple[int, int]]
) -> None:
    quota, state = each(calendar, tokens), None
    used: dict[int, int] = {}
    for pause, cost in plan:
        now += pause if cost % 2 else pause // 1000
        decision, (new,) = take([Demand(b"a", Charge.of("x", quota, cost))], [state], now)
        start = calendar.start(now)
        assert decision.allowed is (used.get(start, 0) + cost <= tokens)
        assert decision.owed == (used.get(start, 0),)
        if decision.allowed:
            used[start] = used.get(start, 0) + cost
        state = new or state
    assert all(amount <= tokens for amount in used.values())


@given(calendars(), st.integers(1, 10**10), instants, st.integers(0, 10**10))
def test_a_used_quota_is_whole_at_the_next_start_and_not_a_moment_before(
    calendar: Calendar, tokens: int, now: int, cost: int
) -> None:
    assume(0 < cost <= tokens)
    quota, end = each(calendar, tokens), calendar.end(now)
    whole = [Demand(b"a", Charge.of("x", quota, tokens))]
    _, (state,) = take([Demand(b"a", Charge.of("x", quota, cost))], [None], now)
    assert state is not None
    assert state.full_at + state.rest == end
    assert not take(whole, [state], end - 1)[0].allowed
    assert take(whole, [state], end)[0].allowed
    assert whole[0].charge.payable_at(cost, now) == quota.full_at(cost, now) == end


def test_a_larger_or_smaller_quota_leaves_what_was_used() -> None:
    calendar, now = Calendar(MONTH, ZoneInfo("UTC")), instant("UTC", 2026, 11, 26)
    _, (state,) = take([Demand(b"a", Charge.of("x", each(calendar, 10), 7))], [None], now)
    larger, _ = take([Demand(b"a", Charge.of("x", each(calendar, 20), 13))], [state], now)
    smaller, _ = take([Demand(b"a", Charge.of("x", each(calendar, 5), 1))], [state], now)
    assert (larger.allowed, larger.owed) == (True, (7,))
    assert (smaller.allowed, smaller.owed) == (False, (7,))


def test_quotas_and_rates_are_charged_together_or_not_at_all() -> None:
    calendar, now = Calendar(DAY, ZoneInfo("UTC")), instant("UTC", 2026, 11, 26, 12)
    demands = [Demand(b"a", Charge.of("x", each(calendar, 3), 2)), Demand(b"b", Charge.of("y", each(calendar, 1), 2))]
    decision, states = take(demands, [None, State(now, 1)], now)
    assert not decision.allowed
    assert states == (None, None)


def test_a_limit_with_another_calendar_has_other_buckets_and_tiers_share_one() -> None:
    ana = Identity((), (), b"key").user("ana", "gold")

    def rules(calendar: Calendar, tokens: int = 5) -> Rules:
        gold = {"gold": each(calendar, 9)}
        return Rules(limits=[Limit("monthly", ("user",), each(calendar, tokens), tiers=gold)])

    def key(of: Rules, tier: str | None) -> tuple[bytes, int]:
        (demand,) = of.demands(of.default, ana.in_tier(tier))
        return demand.key, demand.charge.quota.burst

    calendar = Calendar(MONTH, ZoneInfo("Europe/Berlin"), 15)
    own, five = key(rules(calendar), None)
    assert own == b"monthly@month.15.Europe%2FBerlin:*:" + ana.digest
    assert (five, key(rules(calendar), "gold")) == (5, (own, 9))
    assert key(rules(calendar, 7), None) == (own, 7)
    assert rules(calendar).has_quotas
    others = [Calendar(MONTH, calendar.zone, 14), Calendar(MONTH, ZoneInfo("UTC"), 15), Calendar(DAY, calendar.zone)]
    assert len({own, *(key(rules(other), None)[0] for other in others)}) == 4
