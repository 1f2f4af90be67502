"""Schedules: what is read, and what each mistake is answered with."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.config.summary import summary
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.schedule import DAY_MINUTES, EVERY_DAY, Span
from tests.config.reading import load_rules_text, rules_problems

LIMIT = "limits: [{name: a, per: user, rate: 9/s, schedule: [%s]}]\n"


def test_a_schedule_is_read(tmp_path: Path) -> None:
    loaded = load_rules_text(
        tmp_path,
        "limits:\n"
        "  - name: a\n    per: user\n    rate: 9/s\n    tiers: {gold: {rate: 10/s}}\n    schedule:\n"
        "      - during: [{days: [sun, sat]}, {from: '22:00', to: 06:00, zone: Europe/Berlin}]\n"
        "        rate: 1/s\n        burst: 5\n        tiers: {gold: {rate: 2/s}}\n"
        "      - {during: [{from: '18:30'}, {days: [mon], to: '24:00'}], rate: 3/s, tiers: {gold: {rate: 3/s}}}\n",
    )
    (limit,) = loaded.rules.limits
    first, second = limit.schedule
    assert first.during == (
        Span(frozenset({5, 6})),
        Span(EVERY_DAY, 22 * 60, 6 * 60, ZoneInfo("Europe/Berlin")),
    )
    assert (first.quota, first.tiers) == (Quota(Rate(1, 1), 5), {"gold": Quota(Rate(2, 1), 2)})
    assert second.during == (Span(EVERY_DAY, 18 * 60 + 30, DAY_MINUTES), Span(frozenset({0})))
    assert loaded.rules.changes_at == 0
    shown = summary(loaded, 1)
    assert "  sat, sun, UTC; every day 22:00 to 06:00, Europe/Berlin" in shown


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{during: [{days: [sat]}]}", "limits[0].schedule[0]: the key 'rate' is missing"),
        ("{rate: 1/s}", "limits[0].schedule[0]: the key 'during' is missing"),
        ("{during: [], rate: 1/s}", "limits[0].schedule[0].during: the list is empty"),
        (
            "{during: [{zone: UTC}], rate: 1/s}",
            "limits[0].schedule[0].during[0]: this names no time; write 'days', or 'from' and 'to'",
        ),
        ("{during: [{days: [saturday]}], rate: 1/s}", "'saturday' is not one of the options; write mon, tue"),
        ("{during: [{from: 10pm}], rate: 1/s}", "'10pm' is not a time of day; write hours and minutes in quotes, as"),
        ("{during: [{from: '24:01'}], rate: 1/s}", "'24:01' is not a time of day"),
        (
            "{during: [{from: '06:00', to: '06:00'}], rate: 1/s}",
            "from: this span has no length; for whole days, leave out 'from' and 'to'",
        ),
        ("{during: [{from: '06:00', zone: Berlin}], rate: 1/s}", "'Berlin' is no time zone"),
        (
            "{during: [{days: [sat]}], rate: 1/s, tiers: {gold: {rate: 1/s}}}",
            "the limit itself has no tier 'gold'; write one under its own 'tiers'",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_way_out(tmp_path: Path, entry: str, problem: str) -> None:
    (found,) = rules_problems(tmp_path, LIMIT % entry)
    assert problem in found


def test_an_entry_has_all_tiers_of_its_limit(tmp_path: Path) -> None:
    entry = "{during: [{days: [sat]}], rate: 1/s}], tiers: {gold: {rate: 1/s}"
    (found,) = rules_problems(tmp_path, f"limits: [{{name: a, per: user, rate: 9/s, schedule: [{entry}}}}}]\n")
    assert "the limit has the tier 'gold'; write its rate at this time as well" in found


def test_a_calendar_quota_has_no_schedule(tmp_path: Path) -> None:
    text = "limits: [{name: a, per: user, quota: 9/day, schedule: [{during: [{days: [sat]}], rate: 1/s}]}]\n"
    (found,) = rules_problems(tmp_path, text)
    assert "schedule: a quota has no schedule; write a limit with a rate beside it" in found


def test_an_entry_behind_one_that_always_comes_first_is_warned_of(tmp_path: Path) -> None:
    night, weekend = "{from: '22:00', to: '06:00'}", "{days: [sat, sun]}"
    late = "{during: [{from: '23:00', to: '05:00', zone: UTC}], rate: 1/s}"
    hidden = load_rules_text(tmp_path, LIMIT % f"{{during: [{night}], rate: 2/s}}, {late}").warnings
    (warning,) = [str(each) for each in hidden]
    assert "limits[0].schedule[1]: this is never in force" in warning
    for order in (f"{late}, {{during: [{night}], rate: 2/s}}", f"{{during: [{weekend}], rate: 2/s}}, {late}"):
        assert not load_rules_text(tmp_path, LIMIT % order).warnings
