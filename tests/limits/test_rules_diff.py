"""What a reload reports as changed."""

from zoneinfo import ZoneInfo

from gateway.limits.calendar import MONTH, Calendar, CalendarRate
from gateway.limits.condition import HEADER, QUERY, Condition
from gateway.limits.endpoint import Endpoint, Template
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from gateway.limits.rules_diff import diff_rules, touched_limits

EXPORT = Condition(QUERY, "format", frozenset({"csv"}))


def _rules(rate: str, gold: str) -> Rules:
    tiers = {"gold": Quota(Rate.parse(gold), 7)}
    return Rules(limits=(Limit("all", ("user",), Quota(Rate.parse(rate), 5), frozenset(), tiers=tiers),))


def test_the_same_rate_in_other_words_is_no_change() -> None:
    assert diff_rules(_rules("60/m", "1/h"), _rules("60/60s", "1/hour"))["limits"]["changed"] == []


def test_a_rate_that_changed_is_shown_as_it_was_and_is_written() -> None:
    (changed,) = diff_rules(_rules("60/60s", "1/h"), _rules("61/m", "2/60m"))["limits"]["changed"]
    assert changed["before"] == {"rate": "60/60s", "tiers": {"gold": {"rate": "1/h", "burst": 7}}}
    assert changed["after"] == {"rate": "61/m", "tiers": {"gold": {"rate": "2/60m", "burst": 7}}}


def test_a_rate_that_becomes_a_calendar_quota_is_shown_in_both_forms() -> None:
    def rules(quota: Quota) -> Rules:
        return Rules(limits=(Limit("all", ("user",), quota),))

    def monthly(zone: str) -> Quota:
        return Quota.each_period(CalendarRate(100, Calendar(MONTH, ZoneInfo(zone), 15)))

    (changed,) = diff_rules(rules(Quota(Rate(1, 1), 5)), rules(monthly("UTC")))["limits"]["changed"]
    assert changed["before"] == {"rate": "1/s", "burst": 5}
    assert changed["after"] == {"quota": "100/month", "zone": "UTC", "from_day": 15}
    (moved,) = diff_rules(rules(monthly("UTC")), rules(monthly("Europe/Berlin")))["limits"]["changed"]
    assert (moved["before"], moved["after"]) == ({"zone": "UTC"}, {"zone": "Europe/Berlin"})
    assert diff_rules(rules(monthly("UTC")), rules(monthly("UTC")))["limits"]["changed"] == []


def test_conditions_that_changed_are_shown_as_the_files_have_them() -> None:
    def rules(*values: str) -> Rules:
        header = Condition(HEADER, "X-A", frozenset(values))
        return Rules([Endpoint("e", Template.parse("/e"), headers=(header,), query=(EXPORT,) * (len(values) > 1))])

    (changed,) = diff_rules(rules("1"), rules("2", "1"))["endpoints"]["changed"]
    assert changed["before"] == {"headers": {"X-A": ["1"]}, "query": {}}
    assert changed["after"] == {"headers": {"X-A": ["1", "2"]}, "query": {"format": ["csv"]}}


def test_a_difference_touches_the_limits_that_change_and_those_of_endpoints_that_do() -> None:
    def rules(path: str, burst: int, *more: Limit) -> Rules:
        endpoints = [Endpoint(name, Template.parse(each)) for name, each in (("a", path), ("b", "/b"))]
        quota = Quota(Rate(1, 1), 9)
        own = [Limit(f"of-{name}", ("user",), quota, frozenset({name})) for name in "ab"]
        return Rules(endpoints, [*own, Limit("changing", ("user",), Quota(Rate(1, 1), burst), frozenset({"b"})), *more])

    old = rules("/a", 1)
    for new, touched in (
        (rules("/a", 1), []),
        (rules("/a", 2), ["changing"]),
        (rules("/aa", 1), ["of-a"]),
        (rules("/aa", 2), ["of-a", "changing"]),
        (rules("/a", 1, Limit("new", ("user",), Quota(Rate(1, 1), 1))), []),
    ):
        assert touched_limits(diff_rules(old, new), old) == touched
    removed = rules("/a", 1, Limit("gone", ("user",), Quota(Rate(1, 1), 1)))
    assert touched_limits(diff_rules(removed, old), removed) == ["gone"]
