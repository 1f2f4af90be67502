"""Reads rates, bursts, calendar quotas, numbers of requests at once, and tiers."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.number import whole
from gateway.config.reader import Value, reads, string
from gateway.config.scalar import choice, text
from gateway.config.section import Section
from gateway.limits.at_once import AtOnce
from gateway.limits.calendar import DAY, MONTH, UNITS, UTC_ZONE, WEEKDAYS, Calendar, CalendarRate, parse_amount
from gateway.limits.limit import Candidate
from gateway.limits.quota import Quota
from gateway.limits.rate import PERIODS, Rate

_LARGEST_BURST = 1_000_000_000_000
_NEARLY_A_RATE = re.compile(r"\s*([0-9]+)\s*(?:/|per)\s*([0-9]*)\s*([A-Za-z]+)\s*", re.ASCII)
_MAX_LENGTH = 64
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_MOST_AT_ONCE = 1_000_000
FORMS = ("rate", "quota", "at_once")
"""Keys of which one says how much a limit allows."""
EXCLUSIVE = (("rate", "quota"), ("burst", "quota"), ("rate", "at_once"), ("burst", "at_once"), ("quota", "at_once"))
"""Keys of which only one may be written."""
_FORM_NAMES = {
    "rate": "a rate",
    "quota": "a quota for each day, week or month",
    "at_once": "a number of requests at once",
}
_FOREIGN = {
    "rate": {"zone": "a rate has no calendar", "from_day": "a rate has no calendar"},
    "quota": {"burst": "all of a quota can be used at once"},
    "at_once": dict.fromkeys(("burst", "zone", "from_day"), "requests at once have neither burst nor calendar"),
}
"""Keys that another form does not have, and why."""


@reads("rate", string(rf"^\s*0*[1-9][0-9]*\s*/\s*[0-9]{{0,9}}\s*({'|'.join(PERIODS)})\s*$"))
def rate(node: Node) -> Rate:
    """Tokens a period, see `Rate.parse`."""
    value = text(node)
    try:
        return Rate.parse(value)
    except ValueError as error:
        form = _NEARLY_A_RATE.fullmatch(value)
        unit = node.source.findings.nearest(form[3].lower(), PERIODS) if form else ""
        near = f"{form[1]}/{form[2]}{unit}" if form and unit else ""
        reason = (
            str(error) if len(value) <= _MAX_LENGTH else "this is not a rate; write tokens/period, as in 100/minute"
        )
        raise node.refuse(reason, "" if near == value else near) from None


burst = whole(1, _LARGEST_BURST)
at_once = whole(1, _MOST_AT_ONCE)


@reads("tokens per day, week or month", string(rf"^\s*0*[1-9][0-9]*\s*/\s*({'|'.join(UNITS)})\s*$"))
def amount(node: Node) -> tuple[int, str]:
    """Tokens and the unit of a calendar, see `parse_amount`."""
    value = text(node)
    try:
        return parse_amount(value)
    except ValueError as error:
        form = _NEARLY_A_RATE.fullmatch(value)
        unit = node.source.findings.nearest(form[3].lower(), UNITS) if form and not form[2] else ""
        if form and not unit and form[3] in PERIODS:
            raise node.refuse(f"{quote(value)} has no day, week or month; write 'rate' instead of 'quota'") from None
        reason = str(error) if len(value) <= _MAX_LENGTH else "this is not a quota; write one as in 100000/month"
        raise node.refuse(reason, f"{form[1]}/{unit}" if form and unit else "") from None


@reads("time zone", string(rf"^{_ZONE.pattern}$"))
def zone(node: Node) -> ZoneInfo:
    """A time zone of the IANA database."""
    value = text(node)
    try:
        if _ZONE.fullmatch(value):
            return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass  # a folder of zones, such as Europe, is an OSError
    zones = {each.lower(): each for each in available_timezones()}
    near = node.source.findings.nearest(value.lower(), zones)
    reason = f"{quote(value)} is no time zone; write a name of the IANA database, as in Europe/Berlin or UTC"
    raise node.refuse(reason, repr(zones[near]) if near else "")


_day_of_month = whole(1, 31)
_day_of_week = choice(*WEEKDAYS)


@reads("1 to 31, or a day of the week", {"anyOf": [_day_of_month, _day_of_week]})
def from_day(node: Node) -> int | str:
    """With which day months or weeks begin."""
    return _day_of_month(node) if node.scalar("a day").isdigit() else _day_of_week(node)


def quota(entries: Entries) -> Quota:
    """How much a limit allows: rate and burst, so much in each period of a calendar, or so many requests at once."""
    form = _given(entries)
    return _calendar_quota(entries, _calendar(entries)) if form == "quota" else _read(form, entries)


def quota_like(entries: Entries, own: Quota) -> Quota:
    """The quota of a tier or a candidate, which has the form of the limit's own."""
    form, wanted = _given(entries), _form_of(own)
    if form != wanted:
        raise entries.at(form).refuse(
            f"the limit has {_FORM_NAMES[wanted]}, so write {wanted!r} here as well, instead of {form!r}",
            f"{wanted}: {own}" if own.calendar else "",
        )
    return _calendar_quota(entries, own.calendar) if own.calendar is not None else _read(form, entries)


def _form_of(quota: Quota) -> str:
    if quota.at_once:
        return "at_once"
    return "rate" if quota.calendar is None else "quota"


def _read(form: str, entries: Entries) -> Quota:
    if form == "rate":
        return even_quota(entries)
    if form not in entries.values:
        raise InvalidError
    return Quota(AtOnce(), entries.values[form])


def quotas_like(tiers: Mapping[str, Entries], own: Quota) -> dict[str, Quota]:
    """The quotas of tiers, by the tier's name, see `quota_like`."""
    found = {}
    for tier, entries in tiers.items():
        with suppress(InvalidError):
            found[tier] = quota_like(entries, own)
    return found


def _given(entries: Entries) -> str:
    """Which of the forms is written."""
    given = entries.one_of(*FORMS)
    if given is None:
        if not any(form in entries for form in FORMS):
            entries.node.refuse(
                "the key 'rate' is missing, or 'quota' for so much in each day, week or month, or 'at_once' for so "
                "many requests in flight"
            )
        raise InvalidError
    for key, why in _FOREIGN[given].items():
        if key in entries:
            other = "a rate" if key == "burst" else "a quota"
            raise entries.at(key).refuse(f"{why}; remove the key {key!r}, or write {other}")
    return given


def even_quota(entries: Entries) -> Quota:
    """Rate and burst; without a burst, as many as the rate's tokens a period."""
    speed: Rate | None = entries.values.get("rate")
    if speed is None or ("burst" in entries and "burst" not in entries.values):
        raise InvalidError
    try:
        return Quota(speed, entries.values.get("burst", speed.tokens))
    except ValueError as error:
        raise entries.at("burst" if "burst" in entries else "rate").refuse(str(error)) from None


def _calendar_quota(entries: Entries, calendar: Calendar) -> Quota:
    if "quota" not in entries.values:
        raise InvalidError
    tokens, unit = entries.values["quota"]
    if unit != calendar.unit:
        raise entries.at("quota").refuse(f"the limit counts each {calendar.unit}; write {tokens}/{calendar.unit}")
    try:
        return Quota.each_period(CalendarRate(tokens, calendar))
    except ValueError as error:
        raise entries.at("quota").refuse(str(error)) from None


def _calendar(entries: Entries) -> Calendar:
    in_zone: ZoneInfo | None = entries.get("zone", UTC_ZONE)
    day: Any = entries.get("from_day", 1)
    if "quota" not in entries.values or in_zone is None or day is None:
        raise InvalidError
    _, unit = entries.values["quota"]
    if "from_day" in entries:
        if unit == DAY:
            raise entries.at("from_day").refuse("a day begins at midnight; remove the key, or write a quota per month")
        if isinstance(day, str) is (unit == MONTH):
            days = "1 to 31" if unit == MONTH else ", ".join(WEEKDAYS)
            raise entries.at("from_day").refuse(f"a {unit} begins with one of its days; write {days}")
    return Calendar(unit, in_zone, WEEKDAYS.index(day) + 1 if isinstance(day, str) else day)


QUOTA_MEANINGS = {
    "rate": "Tokens a period: `100/minute`, `50/s`, `10/15s`.",
    "burst": "Tokens that a full bucket holds; without it, as many as the rate's.",
    "quota": "Instead of a rate: tokens in each day, week or month of the calendar, as in `100000/month`.",
    "at_once": "Instead of a rate: requests that may be in flight at the same time.",
}
CALENDAR_MEANINGS = {
    "zone": "With `quota`: the time zone in which days begin, as in `Europe/Berlin`; without it UTC.",
    "from_day": "With `quota`: the day of the month with which a month begins, 1 to 31, or its last day if it is "
    "shorter; or the day of the week, `mon` to `sun`. Without it, 1 or `mon`.",
}


def tiers_of(path: str, *, with_quota: bool = True) -> Value[dict[str, Entries]]:
    """What is written for each tier, by its name; `quotas_like` makes quotas of it."""
    section = Section(
        path,
        {"rate": rate, "burst": burst, **({"quota": amount, "at_once": at_once} if with_quota else {})},
        (Quota,),
        lambda entries: entries,
        required=() if with_quota else ("rate",),
        meanings=QUOTA_MEANINGS,
        exclusive=EXCLUSIVE if with_quota else (),
        one_of=FORMS if with_quota else (),
    )

    def read(node: Node) -> dict[str, Entries]:
        found = {}
        for key_node, child in node.entries().values():
            with suppress(InvalidError):
                tier = text(key_node)
                if "*" in tier:
                    key_node.warn(f"'*' is no wildcard here: this is for the tier {quote(tier)} only")
                found[tier] = section(child)
        return found

    return Value(read, "sections by tier", {"type": "object", "additionalProperties": section})


tiers = tiers_of("limits.tiers.NAME")
CANDIDATE = Section(
    "limits.candidate",
    {
        "rate": rate,
        "burst": burst,
        "quota": amount,
        "at_once": at_once,
        "tiers": tiers_of("limits.candidate.tiers.NAME"),
    },
    (Candidate, Quota),
    lambda entries: entries,
    about="Another rate and burst, or another quota, counted beside a limit's own.",
    meanings={**QUOTA_MEANINGS, "tiers": "The same for users on a tier, by the tier's name."},
    exclusive=EXCLUSIVE,
    one_of=FORMS,
)
