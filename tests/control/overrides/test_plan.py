"""A file of overrides: a round trip changes nothing, every error has its place, and what differs is counted."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.identity import build_identity
from gateway.auth.key_ring import KeyRings
from gateway.auth.timestamps import format_timestamp
from gateway.config.keys import Keys
from gateway.control.errors import InvalidPlanError
from gateway.control.overrides.listing import list_overrides
from gateway.control.overrides.model import OverrideRecord
from gateway.control.overrides.plan import Plan, PlanReader, format_plan
from gateway.control.target import Target
from gateway.limits.calendar import MONTH, UTC_ZONE, Calendar, CalendarRate
from gateway.limits.holder import ADDRESS, USER
from gateway.limits.identity_source import TrustedHeader
from gateway.limits.override import Effect, Override
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules
from tests.control.running import ENDPOINTS, limit, settings

NOW = 1_900_000_000_000_000
SOON = format_timestamp(NOW + 3_600_000_000)
SOURCE = TrustedHeader("X-User-Id", attributes={"org": "X-Org", "team": "X-Team"})
IDENTITY = build_identity(replace(settings().identity, sources=(SOURCE,)), 65_536, KeyRings(Keys()), print)
RULES = Rules(ENDPOINTS, (limit("each", 10, tiers={"gold": Quota(Rate(1, 1), 20)}), limit("all", 9, per=())))
HEADER = "user,address,effect,rate,burst,limits,endpoints,tier,reason,expires_at\n"

USERS = st.text(min_size=1, max_size=5).filter(str.isprintable) | st.text(st.sampled_from('a,"\r\n é'), min_size=1)
TARGETS = st.one_of(
    st.builds(Target, st.just(USER), USERS),
    st.builds(Target, st.just(ADDRESS), st.sampled_from(["192.0.2.1", "198.51.100.0/24", "2001:db8::/64"])),
    st.builds(Target.of_attributes, st.dictionaries(st.sampled_from(["org", "team"]), USERS, min_size=1)),
)
NAMES = st.frozensets(st.sampled_from(["a", "b-c", "d_e"]))
QUOTAS = st.one_of(
    st.builds(Quota, st.builds(Rate, st.integers(1, 9), st.sampled_from([1, 60, 86_400])), st.integers(1, 9)),
    st.just(Quota.each_period(CalendarRate(5, Calendar(MONTH, UTC_ZONE)))),
)
ENDS = st.integers(NOW + 1, NOW + 10**12)
OVERRIDES = st.one_of(
    st.builds(Override, st.sampled_from([Effect.BLOCK, Effect.EXEMPT]), ENDS, USERS, NAMES),
    st.builds(Override, st.just(Effect.TIER), ENDS, USERS, NAMES, tier=st.just("gone")),
    st.builds(Override, st.just(Effect.QUOTA), ENDS, USERS, NAMES, NAMES, QUOTAS),
)
RECORDS = st.builds(OverrideRecord, TARGETS, OVERRIDES, USERS, st.just("2026-01-01T00:00:00.000000Z"))


def stored(*records: OverrideRecord) -> dict[bytes, bytes]:
    return {each.target.digest(IDENTITY).encode(): each.text() for each in records}


def read(text: str, before: dict[bytes, bytes] | None = None) -> Plan:
    return asyncio.run(PlanReader(before or {}, RULES, IDENTITY, "ana", NOW).read(text))


def errors(text: str) -> list[str]:
    with pytest.raises(InvalidPlanError) as raised:
        read(text)
    return [f"{each['line']}:{each['column']}: {each['detail']}" for each in raised.value.members["errors"]]


@given(st.lists(RECORDS, max_size=5, unique_by=lambda record: record.target))
def test_a_file_of_what_is_stored_changes_nothing_whatever_the_rules_are_by_now(records: list[OverrideRecord]) -> None:
    before = stored(*records)

    async def dump() -> bytes:
        return await format_plan((await list_overrides(before)).records())

    plan = read(asyncio.run(dump()).decode(), before)
    assert (plan.texts, plan.unchanged, plan.changes_anything) == (before, len(records), False)


def block(user: str, reason: str = "old", end: int = NOW + 10) -> OverrideRecord:
    return OverrideRecord(Target(USER, user), Override(Effect.BLOCK, end, reason), "bob", "then")


def test_what_is_new_gone_and_otherwise_is_counted_and_the_first_are_shown() -> None:
    before = stored(block("same"), block("gone"), block("over", end=NOW), block("other"))
    rows = [f"new{number},,exempt,,,,order,,why,{SOON}" for number in range(12)]
    rows += [f"same,,block,,,,,,old,{format_timestamp(NOW + 10)}", f"other,,quota,5/s,7,each,,,why,{SOON}"]
    rows += [f",2001:db8::7,block,,,,,,why,{SOON}", "late,,block,,,,,,why,2020-01-01T00:00:00Z"]
    plan = read("\ufeff" + HEADER + "\n".join(rows), before)
    shown = plan.document()
    assert {name: each["count"] if isinstance(each, dict) else each for name, each in shown.items()} == {
        "overrides": 15, "added": 13, "removed": 1, "changed": 1, "unchanged": 1, "expired": 1
    }  # fmt: skip
    assert [each["user"] for each in shown["added"]["first"]] == [f"new{number}" for number in range(10)]
    assert shown["removed"]["first"] == [block("gone").document()]
    (change,) = shown["changed"]["first"]
    assert change["before"] == block("other").document()
    assert change["after"].items() >= {"user": "other", "rate": "5/s", "burst": 7, "set_by": "ana"}.items()
    assert plan.texts[Target(USER, "same").digest(IDENTITY).encode()] == block("same").text()
    assert Target(ADDRESS, "2001:db8::/64").digest(IDENTITY).encode() in plan.texts


def test_all_errors_are_found_at_once_with_their_places() -> None:
    text = HEADER + "\n".join([
        f"ana,,quota,fast,1.5,,,,why,{SOON}",
        f",,block,,0,,,,why,{SOON}",
        f'bob,192.0.2.1,block,,,,,,"w\nhy",{SOON}',
        f"cleo,,block,5/s,,,,,,{SOON}",
        "dan,block",
        f"eve,,quota,5/s,5,all,nowhere,,why,{SOON}",
        f",192.0.2.300,block,,,,,,why,{SOON}",
        f"192.0.2.7,,block,,,,,,why,{SOON}",
        f"fay,,block,,,,,,why,{SOON}",
        f"fay,,block,,,,,,why,{SOON}",
        "gus,,block,,,,,,why,soon",
        f"hal,,tier,,,,,lead,why,{SOON}",
    ])  # fmt: skip
    assert errors(text) == [
        "2:12: rate: 'fast' is not a rate; write tokens/period, as in 100/minute, 50/s or 10/15s",
        "2:17: burst: must be an integer from 1 to 1000000000",
        "3:1: this row must have exactly one of user, address, attributes",
        "3:10: burst: is not for this effect; leave it empty",
        "4:1: this row must have exactly one of user, address, attributes",
        "6:13: rate: is not for this effect; leave it empty",
        "6:21: reason: is required",
        "7:1: this row has 2 cells, and the header has 10",
        "8:18: limits: all is one limit for all callers, which no override changes; change it in the rules",
        "8:22: endpoints: must be names of endpoints in the rules",
        "9:2: address: is neither an address nor a network; write 198.51.100.7, 198.51.100.0/24 or 2001:db8::/64",
        "10:1: user: is an address, not a user id; put it into the column address",
        "12:1: user: has a row already, in line 11",
        "13:21: expires_at: must be in ISO 8601 with an offset, as in 2030-01-31T12:00:00Z",
        "14:15: tier: must be the name of a tier in the rules",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["1:1: the column effect is missing", "1:1: the column reason is missing",
              "1:1: the column expires_at is missing",
              "1:1: there is no column for the target: user or address or attributes"]),
        ("user,user,effect,reason,expires_at", ["1:6: the column user is there twice"]),
        ("user,effect,reason,expires_at,who,rate x\n,,", ["1:31: unknown column 'who'; known are user, address, attrib",
                                                          "1:35: unknown column 'rate x'; known are user"]),
        ('user,effect,reason,expires_at\nana,"block"x,', ["2:1: not CSV: ',' expected after '\"'"]),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_used_is_the_one_thing_that_is_said(text: str, said: list[str]) -> None:
    found = errors(text)
    assert [each[: len(start)] for each, start in zip(found, said, strict=True)] == said


def test_of_very_many_errors_the_first_thousand_are_shown_and_all_are_counted() -> None:
    text = HEADER + ",,block,,,,,,why,soon\n" * 1500
    with pytest.raises(InvalidPlanError, match=r"^the file has 3000 errors") as raised:
        read(text)
    assert len(raised.value.members["errors"]) == 1000


def test_an_override_that_a_newer_version_has_stored_is_shown_as_such() -> None:
    before = {Target(USER, name).digest(IDENTITY).encode(): b'{"user":"ana","new":1}' for name in ("ana", "bob")}
    plan = read(HEADER + f"ana,,block,,,,,,why,{SOON}", before)
    shown: Any = plan.document()
    assert shown["changed"]["first"][0]["before"] is None
    assert shown["removed"] == {"count": 1, "first": [{"unreadable": True}]}


def test_attributes_that_no_caller_has_are_refused() -> None:
    header = "attributes,effect,reason,expires_at\n"
    assert errors(f"{header}orgg/acme,block,why,{SOON}\norg,block,why,{SOON}\n") == [
        "2:1: attributes: no identity source names the attribute orgg",
        "3:1: attributes: must be attributes, as in org/acme or org/acme/team/blue, with %2F for a slash in a value",
    ]
    assert read(f"{header}org/acme,block,why,{SOON}\n").added.count == 1
