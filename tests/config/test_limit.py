"""Limits: what each mistake is answered with."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.limits.calendar import DAY, MONTH, WEEK, Calendar, CalendarRate
from gateway.limits.charge import FailurePolicy
from gateway.limits.limit import Candidate
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from tests.config.reading import load_rules_text, rules_problems

E = "endpoints: [{name: create-order, path: /v1/orders, cost: 5}]\n"
RATE = "write tokens/period, as in 100/minute, 50/s or 10/15s"
UNIT = "is not a unit; the units are s, m, h and d, or sec, second, min, minute, hour and day"

ZONE = "is no time zone; write a name of the IANA database, as in Europe/Berlin or UTC"


@pytest.mark.parametrize(
    ("limit", "problem"),
    [
        ("{per: user, rate: 1/s}", "2:10: limits[0]: the key 'name' is missing"),
        ("{name: a, rate: 1/s}", "2:10: limits[0]: the key 'per' is missing"),
        (
            "{name: a, per: user, rate: 1/s, over: tell, enforce: 10%}",
            "2:63: limits[0].enforce: a limit with over: tell refuses nobody; remove 'enforce' or 'over'",
        ),
        (
            "{name: a, per: user, rate: 1/s, over: tell, when_redis_is_down: refuse}",
            (
                "2:74: limits[0].when_redis_is_down: a limit with over: tell refuses nobody, also without Redis; write "
                "whole, local or allow"
            ),
        ),
        (
            "{name: a, per: user}",
            (
                "2:10: limits[0]: the key 'rate' is missing, or 'quota' for so much in each day, week or month, or "
                "'at_once' for so many requests in flight"
            ),
        ),
        (
            "{name: Everyone, per: user, rate: 1/s}",
            (
                "2:17: limits[0].name: 'Everyone' is not a name; write at most 64 of a-z, 0-9, _ and -, "
                "starting with a letter or digit"
            ),
        ),
        (
            "{name: a, per: users, rate: 1/s}",
            (
                "2:25: limits[0].per: 'users' is neither user, address, endpoint nor the name of an attribute of a "
                "source in 'identity'; there are no attributes (did you mean 'user'?)"
            ),
        ),
        ("{name: a, per: [], rate: 1/s}", "2:25: limits[0].per: the list is empty"),
        ("{name: a, per: [user, user], rate: 1/s}", "2:32: limits[0].per[1]: duplicate item in this list"),
        (
            "{name: a, per: {user: 1}, rate: 1/s}",
            "2:25: limits[0].per: a mapping here is that of a network: {network: {ipv4: 24, ipv6: 48}}",
        ),
        (
            "{name: a, per: user, rate: 10/fortnight}",
            f"2:37: limits[0].rate: '10/fortnight' is not a rate, because 'fortnight' {UNIT}",
        ),
        (
            "{name: a, per: user, rate: 10/minuet}",
            f"2:37: limits[0].rate: '10/minuet' is not a rate, because 'minuet' {UNIT} (did you mean 10/minute?)",
        ),
        (
            "{name: a, per: user, rate: 10 per hour}",
            f"2:37: limits[0].rate: '10 per hour' is not a rate; {RATE} (did you mean 10/hour?)",
        ),
        ("{name: a, per: user, rate: 100}", f"2:37: limits[0].rate: '100' is not a rate; {RATE}"),
        ("{name: a, per: user, rate: 1:30}", f"2:37: limits[0].rate: '1:30' is not a rate; {RATE}"),
        ("{name: a, per: user, rate: 2024-01-01}", f"2:37: limits[0].rate: '2024-01-01' is not a rate; {RATE}"),
        (
            "{name: a, per: user, rate: 0/s}",
            "2:37: limits[0].rate: a rate needs at least 1 token a period; no limit refuses everything",
        ),
        (
            "{name: a, per: user, rate: 99999999999999999999/s}",
            "2:37: limits[0].rate: a rate is at most 1000000 tokens a second",
        ),
        ("{name: a, per: user, rate: 1/9999999999d}", "2:37: limits[0].rate: a period lasts at most 366 days"),
        (
            "{name: a, per: user, rate: 1/s, burst: 9999999999999999}",
            "2:49: limits[0].burst: 9999999999999999 is out of range; write 1 to 1000000000000",
        ),
        (
            "{name: a, per: user, rate: 1/s, endpoints: default}",
            "2:53: limits[0].endpoints: expected a list, found a single value",
        ),
        ("{name: a, per: user, rate: 2000000/s}", "2:37: limits[0].rate: a rate is at most 1000000 tokens a second"),
        ("{name: a, per: user, rate: [1/s]}", "2:37: limits[0].rate: expected a text, found a list"),
        ("{name: a, per: user, rate: }", "2:37: limits[0].rate: expected a text, found nothing"),
        ("{name: a, per: user, rate: 1/s, burst: 0}", "2:49: limits[0].burst: 0 is out of range; write 1 to "),
        (
            "{name: a, per: user, rate: 1/s, burst: 1_000}",
            "2:49: limits[0].burst: '1_000' is not a whole number; write decimal digits only (did you mean 1000?)",
        ),
        (
            "{name: a, per: user, rate: 1/s, burst: 010}",
            "2:49: limits[0].burst: '010' is not a whole number; write decimal digits only (did you mean 10?)",
        ),
        (
            "{name: a, per: user, rate: 1/s, burst: '5'}",
            "2:49: limits[0].burst: expected a whole number, found a quoted text; remove the quotes",
        ),
        (
            "{name: a, per: user, rate: 1/d, burst: 1000000}",
            "2:49: limits[0].burst: a burst of 1000000 at 1/d takes more than 71 years to refill",
        ),
        (
            "{name: a, per: user, rate: 1/s, enforce: no}",
            (
                "2:51: limits[0].enforce: 'no' is not true, false or a percentage; write a percentage from 0% to "
                "100%, as in 10% (did you mean false?)"
            ),
        ),
        (
            "{name: a, per: user, rate: 1/s, enforce: 'true'}",
            "2:51: limits[0].enforce: expected true, false or a percentage, found a quoted text; remove the quotes",
        ),
        (
            "{name: a, per: user, rate: 1/s, enforce: 0.1}",
            (
                "2:51: limits[0].enforce: '0.1' is not true, false or a percentage; write a percentage from 0% "
                "to 100%, as "
                "in 10% (did you mean 10%?)"
            ),
        ),
        (
            "{name: a, per: user, rate: 1/s, enforce: 101%}",
            (
                "2:51: limits[0].enforce: '101%' is not true, false or a percentage; write a percentage from 0% "
                "to 100%, "
                "as in 10%"
            ),
        ),
        (
            "{name: a, per: endpoint, rate: 1/s, enforce: 10%}",
            (
                "2:55: limits[0].enforce: a bucket that all callers share cannot be enforced for some of them; "
                "write true "
                "or false, or per: [user, endpoint]"
            ),
        ),
        (
            "{name: a, per: address, rate: 1/s, candidate: {rate: 2/s, tiers: {gold: {rate: 1/s}}}}",
            (
                "2:56: limits[0].candidate: a candidate has the same buckets as its limit; tiers need per: user, or "
                "an attribute such as org"
            ),
        ),
        (
            "{name: a, per: user, rate: 1/s, when_redis_is_down: open}",
            "2:62: limits[0].when_redis_is_down: 'open' is not one of the options; write whole, local, allow or refuse",
        ),
        (
            "{name: a, per: user, rate: 1/s, endpoints: [creat-order]}",
            (
                "2:54: limits[0].endpoints[0]: unknown endpoint 'creat-order'; it is not in the rules "
                "(did you mean 'create-order'?)"
            ),
        ),
        ("{name: a, per: user, rate: 1/s, endpoints: []}", "2:53: limits[0].endpoints: the list is empty"),
        (
            "{name: a, per: [all], rate: 1/s}",
            "2:26: limits[0].per[0]: 'all' stands alone: one bucket for all that the limit counts",
        ),
        (
            "{name: a, per: all, rate: 1/s, enforce: 10%}",
            (
                "2:50: limits[0].enforce: a bucket that all callers share cannot be enforced for some of them; write "
                "true or false, or per: user"
            ),
        ),
        (
            "{name: a, per: all, rate: 1/s, tiers: {gold: {rate: 2/s}}}",
            (
                "2:48: limits[0].tiers: a bucket that all users share has one size; tiers need per: user, or an "
                "attribute such as org"
            ),
        ),
        (
            "{name: a, per: all, rate: 1/s, candidate: {rate: 2/s, tiers: {gold: {rate: 1/s}}}}",
            (
                "2:52: limits[0].candidate: a candidate has the same buckets as its limit; tiers need per: user, or "
                "an attribute such as org"
            ),
        ),
        (
            "{name: a, per: endpoint, rate: 1/s, tiers: {gold: {rate: 2/s}}}",
            (
                "2:53: limits[0].tiers: a bucket that all users share has one size; tiers need per: user, or an "
                "attribute such as org"
            ),
        ),
        (
            "{name: a, per: [address, endpoint], rate: 1/s, tiers: {gold: {rate: 2/s}}}",
            (
                "2:64: limits[0].tiers: a bucket that users of one address share has one size; tiers need per: user, "
                "or an attribute such as org"
            ),
        ),
        (
            "{name: a, per: [user, address], rate: 1/s}",
            (
                "2:25: limits[0].per: an address or a network stands with 'endpoint' only; write two limits, and a "
                "request has to pay both"
            ),
        ),
        (
            "{name: a, per: [address, address], rate: 1/s}",
            "2:35: limits[0].per[1]: duplicate item in this list",
        ),
        (
            "{name: a, per: adress, rate: 1/s}",
            (
                "2:25: limits[0].per: 'adress' is neither user, address, endpoint nor the name of an attribute of a "
                "source in 'identity'; there are no attributes (did you mean 'address'?)"
            ),
        ),
        (
            "{name: a, per: user, rate: 1/s, tiers: {gold: {burst: 2}}}",
            (
                "2:56: limits[0].tiers.gold: the key 'rate' is missing, or 'quota' for so much in each day, week or "
                "month, or 'at_once' for so many requests in flight"
            ),
        ),
        (
            "{name: a, per: user, rate: 1/s, exempt: {networks: [10.0.0.1/8]}}",
            (
                "2:62: limits[0].exempt.networks[0]: '10.0.0.1/8' has bits set after its prefix "
                "(did you mean 10.0.0.0/8?)"
            ),
        ),
        (
            "{name: a, per: user, rate: 1/s, exempt: {networks: [office]}}",
            (
                "2:62: limits[0].exempt.networks[0]: 'office' is not a network; write 10.0.0.0/8, 2001:db8::/32 or an "
                "address"
            ),
        ),
        (
            "{name: a, per: user, rate: 1/s, exempt: {user: [bob]}}",
            (
                "2:51: limits[0].exempt.user: unknown key 'user'; the keys here are attributes, networks, users "
                "(did you mean 'users'?)"
            ),
        ),
        (
            "{name: a, per: user, quota: 100/months}",
            (
                "2:38: limits[0].quota: '100/months' is not a quota; write tokens/day, tokens/week or tokens/month, "
                "as in 100000/month (did you mean 100/month?)"
            ),
        ),
        (
            "{name: a, per: user, quota: 100/hour}",
            "2:38: limits[0].quota: '100/hour' has no day, week or month; write 'rate' instead of 'quota'",
        ),
        ("{name: a, per: user, quota: 0/day}", "2:38: limits[0].quota: a quota is 1 to 10000000000 tokens a period"),
        (
            "{name: a, per: user, quota: 9/day, zone: europe/berlin}",
            (
                "2:51: limits[0].zone: 'europe/berlin' is no time zone; write a name of the IANA database, as in "
                "Europe/Berlin or UTC (did you mean 'Europe/Berlin'?)"
            ),
        ),
        (
            "{name: a, per: user, quota: 9/day, zone: Europe}",
            f"2:51: limits[0].zone: 'Europe' {ZONE} (did you mean 'Europe/Rome'?)",
        ),
        ("{name: a, per: user, quota: 9/day, zone: ../etc}", f"2:51: limits[0].zone: '../etc' {ZONE}"),
        (
            "{name: a, per: user, quota: 9/day, from_day: 3}",
            "2:55: limits[0].from_day: a day begins at midnight; remove the key, or write a quota per month",
        ),
        (
            "{name: a, per: user, quota: 9/month, from_day: mon}",
            "2:57: limits[0].from_day: a month begins with one of its days; write 1 to 31",
        ),
        (
            "{name: a, per: user, quota: 9/week, from_day: 3}",
            "2:56: limits[0].from_day: a week begins with one of its days; write mon, tue, wed, thu, fri, sat, sun",
        ),
        (
            "{name: a, per: user, quota: 9/month, from_day: 32}",
            "2:57: limits[0].from_day: 32 is out of range; write 1 to 31",
        ),
        (
            "{name: a, per: user, quota: 9/month, burst: 3}",
            "2:54: limits[0].burst: all of a quota can be used at once; remove the key 'burst', or write a rate",
        ),
        (
            "{name: a, per: user, rate: 9/h, zone: UTC}",
            "2:48: limits[0].zone: a rate has no calendar; remove the key 'zone', or write a quota",
        ),
        (
            "{name: a, per: user, rate: 9/h, quota: 9/day}",
            "2:49: limits[0].quota: 'rate' is given as well; write one of the two",
        ),
        (
            "{name: a, per: user, quota: 9/month, tiers: {gold: {rate: 9/h}}}",
            (
                "2:68: limits[0].tiers.gold.rate: the limit has a quota for each day, week or month, so write "
                "'quota' here "
                "as well, instead of 'rate' (did you mean quota: 9/month?)"
            ),
        ),
        (
            "{name: a, per: user, quota: 9/month, tiers: {gold: {quota: 9/day}}}",
            "2:69: limits[0].tiers.gold.quota: the limit counts each month; write 9/month",
        ),
        (
            "{name: a, per: user, rate: 9/h, tiers: {gold: {quota: 9/day}}}",
            (
                "2:64: limits[0].tiers.gold.quota: the limit has a rate, so write 'rate' here as well, instead "
                "of 'quota'"
            ),
        ),
        (
            "{name: a, per: user, at_once: 4, burst: 2}",
            (
                "2:50: limits[0].burst: requests at once have neither burst nor calendar; remove the key 'burst', or "
                "write a rate"
            ),
        ),
        (
            "{name: a, per: user, at_once: 4, rate: 9/h}",
            "2:40: limits[0].at_once: 'rate' is given as well; write one of the two",
        ),
        ("{name: a, per: user, at_once: 0}", "2:40: limits[0].at_once: 0 is out of range; write 1 to 1000000"),
        (
            "{name: a, per: user, at_once: 4, tiers: {gold: {rate: 9/h}}}",
            (
                "2:64: limits[0].tiers.gold.rate: the limit has a number of requests at once, so write 'at_once' "
                "here as well, instead of 'rate'"
            ),
        ),
        (
            "{name: a, per: user, at_once: 4, schedule: [{during: [{days: [sat]}], rate: 9/h}]}",
            "2:53: limits[0].schedule: requests at once have no schedule; write a limit with a rate beside it",
        ),
        (
            "{name: a, per: user, rate: 9/h, candidate: {quota: 9/day}}",
            "2:61: limits[0].candidate.quota: the limit has a rate, so write 'rate' here as well, instead of 'quota'",
        ),
        (
            "{name: a, per: user, rate: 1/s, endpoint: [default]}",
            (
                "2:42: limits[0].endpoint: unknown key 'endpoint'; the keys here are at_once, burst, candidate, "
                "endpoints, "
                "enforce, exempt, from_claim, "
                "from_day, if_missing, name, over, per, quota, rate, reserve, schedule, tiers, "
                "when_redis_is_down, zone "
                "(did you mean 'endpoints'?)"
            ),
        ),
    ],
)
def test_mistake_is_told_with_its_place_and_the_way_out(tmp_path: Path, limit: str, problem: str) -> None:
    (found,) = rules_problems(tmp_path, f"{E}limits: [{limit}]\n")
    assert found.startswith(f"rules.yaml:{problem}")
    assert problem.endswith("to ") or found == f"rules.yaml:{problem}"


def test_all_mistakes_of_a_limit_come_at_once(tmp_path: Path) -> None:
    assert len(rules_problems(tmp_path, "limits: [{name: A, per: x, rate: y, burst: z, brust: 1, tiers: []}]\n")) == 6


def test_texts_are_taken_as_they_are_written(tmp_path: Path) -> None:
    loaded = load_rules_text(
        tmp_path,
        "limits: [{name: no, per: user, rate: 1/s, exempt: {users: [on, 1:30, 010, 1e3, .inf, null, ~, 2024-01-01]}}]",
    )
    assert loaded.rules.limits[0].name == "no"
    assert loaded.rules.limits[0].exempt.users == {"on", "1:30", "010", "1e3", ".inf", "null", "~", "2024-01-01"}


@pytest.mark.parametrize(
    ("text", "share"), [("true", 1), ("false", 0), ("0%", 0), ("0.5%", 0.005), ("10%", 0.1), ("100%", 1)]
)
def test_enforce_takes_a_share_of_callers(tmp_path: Path, text: str, share: float) -> None:
    loaded = load_rules_text(tmp_path, f"limits: [{{name: a, per: user, rate: 1/s, enforce: {text}}}]")
    assert loaded.rules.limits[0].enforce == share


@pytest.mark.parametrize("form", ["rate: 1/s, burst: 2", "quota: 5/month"])
def test_candidate_that_equals_its_limit_is_warned_of(tmp_path: Path, form: str) -> None:
    text = f"limits: [{{name: a, per: user, {form}, candidate: {{{form}}}}}]"
    (warning,) = load_rules_text(tmp_path, text).warnings
    assert "this candidate equals its limit" in warning.message


def test_a_calendar_quota_has_a_zone_a_first_day_tiers_and_a_candidate(tmp_path: Path) -> None:
    month, week, day = load_rules_text(
        tmp_path,
        "limits: [{name: m, per: user, quota: 100/month, zone: Europe/Berlin, from_day: 15, tiers: "
        "{gold: {quota: 900 / month}}, candidate: {quota: 50/month, tiers: {gold: {quota: 90/month}}}}, "
        "{name: w, per: user, quota: 9/week, from_day: sun}, {name: d, per: user, quota: 5/day}]",
    ).rules.limits
    calendar = Calendar(MONTH, ZoneInfo("Europe/Berlin"), 15)
    assert month.quota == Quota(CalendarRate(100, calendar), 100)
    assert month.tiers == {"gold": Quota(CalendarRate(900, calendar), 900)}
    half, less = Quota(CalendarRate(50, calendar), 50), Quota(CalendarRate(90, calendar), 90)
    assert month.candidate == Candidate(half, {"gold": less})
    assert week.quota.calendar == Calendar(WEEK, ZoneInfo("UTC"), 7)
    assert day.quota.calendar == Calendar(DAY, ZoneInfo("UTC"))


def test_a_cost_above_a_quota_is_warned_of(tmp_path: Path) -> None:
    text = "endpoints: [{name: big, path: /big, cost: 7}]\nlimits: [{name: a, per: user, quota: 5/day}]"
    (warning,) = load_rules_text(tmp_path, text).warnings
    assert "because it costs 7 and a bucket holds at most 5; raise the quota to 7 or more" in str(warning)


def test_every_key_reaches_the_limit(tmp_path: Path) -> None:
    (limit,) = load_rules_text(
        tmp_path,
        "limits: [{name: a, per: [endpoint, user], endpoints: [default], rate: 10/15s, burst: 3, enforce: false, "
        "when_redis_is_down: refuse, exempt: {users: [bob]}, tiers: {Gold Plan: {rate: 9/s}}}]",
    ).rules.limits
    assert (limit.per, limit.endpoints) == (("user", "endpoint"), frozenset({"default"}))
    assert (limit.quota.rate, limit.quota.burst) == (Rate(10, 15), 3)
    assert (limit.enforce, limit.when_redis_is_down, limit.exempt.users) == (
        False,
        FailurePolicy.REFUSE,
        frozenset({"bob"}),
    )
    assert limit.tiers["Gold Plan"].burst == 9


def test_limit_that_a_tier_can_never_pay_is_warned_of_at_the_tiers(tmp_path: Path) -> None:
    loaded = load_rules_text(
        tmp_path, f"{E}limits: [{{name: a, per: user, rate: 9/s, tiers: {{slow: {{rate: 1/s}}}}}}]\n"
    )
    (warning,) = loaded.warnings
    assert warning.path == "limits[0].tiers"
    assert warning.message.startswith("no request of tier slow to create-order can pass under a, because it costs 5")


def test_shadow_limit_that_cannot_be_paid_is_no_warning(tmp_path: Path) -> None:
    text = f"{E}limits: [{{name: a, per: user, rate: 1/s, enforce: false}}]\n"
    assert load_rules_text(tmp_path, text).warnings == ()


def test_a_wildcard_in_an_id_or_a_tier_is_warned_of(tmp_path: Path) -> None:
    text = (
        "limits: [{name: a, per: user, rate: 1/s, tiers: {'gold-*': {rate: 2/s}}}]\nexempt: {users: ['admin-*', ana]}\n"
    )
    assert [warning.message for warning in load_rules_text(tmp_path, text).warnings] == [
        "'*' is no wildcard here: this is for the tier 'gold-*' only",
        "'*' is no wildcard here: only the user with the ID 'admin-*' is exempt",
    ]


def test_all_endpoints_are_meant_by_leaving_the_key_out(tmp_path: Path) -> None:
    (problem,) = rules_problems(tmp_path, "limits: [{name: a, per: user, rate: 1/s, endpoints: ['*']}]\n")
    assert problem.endswith(
        "unknown endpoint '*'; it is not in the rules; without the key 'endpoints', a limit counts all of them"
    )
