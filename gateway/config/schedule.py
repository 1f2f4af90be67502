"""Reads `schedule` of limits."""

import re
from collections.abc import Mapping
from contextlib import suppress

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.quota import QUOTA_MEANINGS, burst, even_quota, rate, tiers_of, zone
from gateway.config.reader import Value, reads, string
from gateway.config.scalar import choice, each
from gateway.config.section import Section
from gateway.limits.calendar import UTC_ZONE, WEEKDAYS
from gateway.limits.quota import Quota
from gateway.limits.schedule import DAY_MINUTES, EVERY_DAY, Scheduled, Span, never_in_force

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", re.ASCII)


@reads("time of day", string(f"^({_TIME.pattern})$"))
def _time(node: Node) -> int:
    """Minutes after midnight."""
    value = node.scalar("a time of day")
    form = _TIME.fullmatch(value)
    if form is None:
        raise node.refuse(f"{quote(value)} is not a time of day; write hours and minutes in quotes, as in '22:00'")
    return DAY_MINUTES if form[1] is None else int(form[1]) * 60 + int(form[2])


def _span(entries: Entries) -> Span:
    if not {"days", "from", "to"} & entries.node.entries().keys():
        raise entries.node.refuse("this names no time; write 'days', or 'from' and 'to'")
    days, begins, ends, of = (
        entries.get("days", tuple(WEEKDAYS)),
        entries.get("from", 0),
        entries.get("to", DAY_MINUTES),
        entries.get("zone", UTC_ZONE),
    )
    if days is None or begins is None or ends is None or of is None:
        raise InvalidError
    if begins in {ends, DAY_MINUTES}:
        raise entries.at("from").refuse("this span has no length; for whole days, leave out 'from' and 'to'")
    return Span(frozenset(map(WEEKDAYS.index, days)) if "days" in entries else EVERY_DAY, begins, ends, of)


_DURING = Section(
    "limits.schedule.during",
    {"days": each(choice(*WEEKDAYS), least=1), "from": _time, "to": _time, "zone": zone},
    (),
    _span,
    about="A span of time that comes every day, or on some days of the week.",
    meanings={
        "days": "The days on which it begins, `mon` to `sun`; without it, every day.",
        "from": "When it begins, as in `22:00`; without it, at midnight.",
        "to": "When it ends, on the next day if that is before `from`; without it, at midnight.",
        "zone": "The time zone, as in `Europe/Berlin`; without it UTC.",
    },
)
_ENTRY = Section(
    "limits.schedule",
    {
        "during": each(_DURING, least=1),
        "rate": rate,
        "burst": burst,
        "tiers": tiers_of("limits.schedule.tiers.NAME", with_quota=False),
    },
    (),
    lambda entries: entries,
    required=("during", "rate"),
    about="Another rate and burst during some spans of time.",
    meanings={
        **{key: QUOTA_MEANINGS[key] for key in ("rate", "burst")},
        "during": "The spans of time; it applies in each of them.",
        "tiers": "Rate and burst of users on a tier, by its name: of all tiers that the limit has.",
    },
)
SCHEDULE = Value(Node.items, "list of sections", {"type": "array", "items": _ENTRY, "minItems": 1})


def schedule(entries: Entries, size: Quota, tiers: Mapping[str, Quota]) -> tuple[Scheduled, ...]:
    """What is written under `schedule` of a limit, whose own quotas are `size` and `tiers`."""
    if "schedule" not in entries.values:
        return ()
    if size.unit is not None:
        what = "requests at once have" if size.at_once else "a quota has"
        entries.at("schedule").refuse(f"{what} no schedule; write a limit with a rate beside it")
        return ()
    if not entries.values["schedule"]:
        entries.at("schedule").refuse("the list is empty")
    found = []
    for node in entries.values["schedule"]:
        with suppress(InvalidError):
            found.append(_entry(_ENTRY(node), tiers))
    if len(found) == len(entries.values["schedule"]):
        for position in never_in_force(found):
            entries.values["schedule"][position].warn(
                "this is never in force: whenever it would apply, an entry above it applies, and the first one counts; "
                "put it above that, or remove it"
            )
    return tuple(found)


def _entry(entries: Entries, tiers: Mapping[str, Quota]) -> Scheduled:
    quota = even_quota(entries)
    of_tiers = {}
    written: Mapping[str, Entries] = entries.values.get("tiers", {})
    for tier in tiers.keys() - written.keys():
        entries.at("tiers").refuse(f"the limit has the tier {quote(tier)}; write its rate at this time as well")
    for tier, each_tier in written.items():
        if tier not in tiers:
            each_tier.node.refuse(f"the limit itself has no tier {quote(tier)}; write one under its own 'tiers'")
        with suppress(InvalidError):
            of_tiers[tier] = even_quota(each_tier)
    if "during" not in entries.values:
        raise InvalidError
    return Scheduled(entries.values["during"], quota, of_tiers)
