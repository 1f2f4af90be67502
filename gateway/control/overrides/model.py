"""`OverrideRecord`: an override as it stands in requests, in responses and in the store."""

import json
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from gateway.auth.timestamps import format_timestamp, parse_timestamp
from gateway.control.errors import InvalidObjectError
from gateway.control.json_object import JsonObject
from gateway.control.target import KINDS, Target
from gateway.limits.at_once import AtOnce
from gateway.limits.calendar import UTC_ZONE, Calendar, CalendarRate, parse_amount
from gateway.limits.holder import BY_ADDRESS, USER, name_part
from gateway.limits.limit import Limit
from gateway.limits.override import Effect, Override
from gateway.limits.quota import Quota, quota_fields
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules

_MAX_DURATION = 366 * 86_400_000_000
"""Microseconds that an override may last."""

_MAX_KNOWN = 10_000
"""Different overrides that a reader remembers: most have something in common with others."""

_MAX_BURST = 1_000_000_000

_MAX_AT_ONCE = 1_000_000

_EFFECTS = tuple(each.value for each in Effect)

_KINDS = {kind.encode(): kind for kind in KINDS}

_FIRST = re.compile(rb'\{"(user|address|attributes)":("(?:[^"\\]|\\.)*"),')
"""The first member of a record, which is its target."""


class OverrideRecord(NamedTuple):
    """An override, whose it is, and who set it.

    Attributes:
        target: Whose it is, in the clear. It is shown to whoever may read overrides, and is in no log.
        override: What it changes.
        set_by: The ``sub`` of the token.
        set_at: When, in ISO 8601.
    """

    target: Target
    override: Override
    set_by: str
    set_at: str

    def document(self) -> dict[str, Any]:
        """All of it, for responses."""
        return {**self.target.document(), **self.change(), "set_by": self.set_by, "set_at": self.set_at}

    def members(self) -> dict[str, Any]:
        """The same for the store and for files, with a target's name in one word."""
        return {**self.document(), self.target.kind: self.target.name}

    def change(self) -> dict[str, Any]:
        """What the audit log records of it: all but whose it is."""
        override = self.override
        document: dict[str, Any] = {"effect": override.effect.value}
        if override.quota is not None:
            quota = override.quota
            # By whose calendar it counts, the limits say.
            document |= {"quota": str(quota)} if quota.calendar is not None else quota_fields(quota)
        if override.limits:
            document["limits"] = sorted(override.limits)
        if override.tier is not None:
            document["tier"] = override.tier
        if override.endpoints:
            document["endpoints"] = sorted(override.endpoints)
        return document | {"reason": override.reason, "expires_at": format_timestamp(override.expires_at)}

    def text(self) -> bytes:
        """As it is stored: the target first, then what it may have in common with other records."""
        return json.dumps(self.members(), separators=(",", ":")).encode()


class RecordReader:
    """Reads stored records. What several have in common is parsed once, and held once: all but their targets."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Override, str, str]] = {}

    def read(self, text: bytes) -> OverrideRecord:
        """The record that `OverrideRecord.text` has written.

        Raises:
            ValueError: it is not one, or of a newer version.
        """
        try:
            target, end = _read_target(text)
            rest = text[end:]
            known = self._known.get(rest)
            if known is None:
                if len(self._known) >= _MAX_KNOWN:
                    self._known.clear()
                known = self._known[rest] = _read_rest(rest)
        except (KeyError, TypeError, InvalidObjectError) as error:
            raise ValueError(f"not an override that this version knows: {error}") from error
        return OverrideRecord(target, *known)


def _read_target(text: bytes) -> tuple[Target, int]:
    """The target of a record, and where it ends."""
    first = _FIRST.match(text)
    if first is None:
        raise ValueError("not an override: it does not begin with its target")
    name = json.loads(first[2]) if b"\\" in first[2] else first[2][1:-1].decode()
    return Target(_KINDS[first[1]], name), first.end()


def _read_rest(rest: bytes) -> tuple[Override, str, str]:
    document = json.loads(b"{" + rest)
    set_by, set_at = document.pop("set_by"), document.pop("set_at")
    return _read(JsonObject(document)), set_by, set_at


def target_of(text: bytes) -> Target:
    """The target of a stored record.

    Raises:
        ValueError: it is not one.
    """
    return _read_target(text)[0]


def parse_record(text: bytes) -> OverrideRecord:
    """One stored record; see `RecordReader` for many.

    Raises:
        ValueError: it is not one, or of a newer version.
    """
    return RecordReader().read(text)


def parse_override(body: JsonObject) -> Override:
    """An override as it is written, whatever the rules are.

    Raises:
        InvalidObjectError: with all that is wrong.
    """
    return _read(body)


def read_override(body: JsonObject, target: Target, rules: Rules, now: int) -> Override:
    """The override in the body of a request.

    Args:
        body: The body.
        target: For whom it is.
        rules: The rules in force; the names in the override have to be theirs, and it must change something.
        now: Microseconds since 1970; the override has to expire later.

    Raises:
        InvalidObjectError: with all that is wrong.
    """
    return _read(body, lambda: _check(body, target, rules, now))


def _check(body: JsonObject, target: Target, rules: Rules, now: int) -> None:
    def known(name: str, words: AbstractSet[str]) -> None:
        if not words >= set(body.strings(name)):
            body.refuse(name, f"must be names of {name} in the rules")

    known("endpoints", rules.endpoints.keys())
    own = {limit.name: limit for limit in rules.limits if target.changes(limit.holder)}
    if "limits" in body:
        known("limits", {limit.name for limit in rules.limits})
        for limit in rules.limits:
            if limit.name in body.strings("limits") and limit.name not in own:
                body.refuse("limits", f"{limit.name} {_why_not(limit)}")
    if "tier" in body:
        tier = body.string("tier", 64)
        if tier and tier not in rules.tiers:
            body.refuse("tier", "must be the name of a tier in the rules")
        own = {name: limit for name, limit in own.items() if tier in limit.tiers}
    if not body.has_errors and body.choice("effect", _EFFECTS) in {"quota", "tier"}:
        _require_effect(body, own)
    expires_at = _expiry(body)
    if expires_at is not None and not now < expires_at <= now + _MAX_DURATION:
        body.refuse("expires_at", "must be in the future, at most 366 days from now")


def _why_not(limit: Limit) -> str:
    """Why an override cannot name a limit, in words that go on from its name."""
    holder = limit.holder
    if holder is None:
        shared = "a limit per endpoint, shared by all callers," if limit.per_endpoint else "one limit for all callers,"
        return f"is {shared} which no override changes; change it in the rules"
    per = " and ".join(name_part(part) for part in limit.per)
    if holder.prefixes is not None:
        whose = "an address" if holder == BY_ADDRESS else "a network of this size or larger"
    else:
        names = [f"{name}/..." for name in (*holder.attributes, *[USER] * holder.user)]
        whose = "a user" if holder.name == USER else "/".join(names)
    return f"is a limit per {per}; change it with an override of {whose}"


def _of_the_same_form(body: JsonObject, own: Mapping[str, Limit]) -> dict[str, Limit]:
    """The limits that this quota can replace: a rate replaces rates, and tokens a month those of other months."""
    quota = _quota(body)
    unit = None if quota is None else quota.unit
    for name in body.strings("limits"):
        if own[name].quota.unit != unit:
            theirs = own[name].quota
            instead = f"quota, as in {theirs}" if theirs.calendar else "at_once" if theirs.at_once else "rate and burst"
            body.refuse("limits", f"{name} has another form; change it with {instead}")
    return {name: limit for name, limit in own.items() if limit.quota.unit == unit}


def _require_effect(body: JsonObject, own: Mapping[str, Limit]) -> None:
    """Refuse what would change nothing: each named limit must count a named endpoint, and each endpoint be counted."""
    if "tier" not in body:
        own = _of_the_same_form(body, own)
        if body.has_errors:
            return
    limits = [own[name] for name in body.strings("limits")] or list(own.values())
    endpoints = body.strings("endpoints")
    if not limits:
        body.refuse("effect", "has no effect: no such limit in the rules has a bucket of its own for this target")
    if any(not any(limit.applies_to(endpoint) for limit in limits) for endpoint in endpoints):
        body.refuse("endpoints", "must be endpoints that these limits count")
    elif endpoints and "limits" in body and any(not any(map(limit.applies_to, endpoints)) for limit in limits):
        body.refuse("limits", "must be limits that count these endpoints")


def _read(body: JsonObject, check: Callable[[], None] = lambda: None) -> Override:
    effect = body.choice("effect", _EFFECTS)
    reason, expires_at = body.string("reason", 500), _expiry(body)
    endpoints = frozenset(body.strings("endpoints"))
    quota = _quota(body) if effect == "quota" else None
    limits = frozenset(body.strings("limits")) if effect == "quota" else frozenset[str]()
    tier = body.string("tier", 64) if effect == "tier" else None
    if not body.has_errors:
        check()
    body.close()
    return Override(Effect(effect), expires_at or 0, reason, endpoints, limits, quota, tier)


def _expiry(body: JsonObject) -> int | None:
    text = body.string("expires_at", 64)
    expires_at = parse_timestamp(text)
    if expires_at is None and text:
        body.refuse("expires_at", "must be in ISO 8601 with an offset, as in 2030-01-31T12:00:00Z")
    return expires_at


def _quota(body: JsonObject) -> Quota | None:
    """Rate and burst, the tokens of each day, week or month, or requests at once."""
    other = next((form for form in ("quota", "at_once") if form in body), None)
    if other is not None:
        for name in ("rate", "burst", "at_once"):
            if name in body and name != other:
                body.required(name)
                body.refuse(name, f"is for limits of another form; with {other}, leave it out")
        return _calendar_quota(body) if other == "quota" else Quota(AtOnce(), body.integer("at_once", 1, _MAX_AT_ONCE))
    rate, burst = body.string("rate", 64), body.integer("burst", 1, _MAX_BURST)
    if not rate:
        return None
    try:
        return Quota(Rate.parse(rate), burst)
    except ValueError as error:
        body.refuse("rate", str(error))
        return None


def _calendar_quota(body: JsonObject) -> Quota | None:
    text = body.string("quota", 64)
    if not text:
        return None
    try:
        tokens, unit = parse_amount(text)
        return Quota.each_period(CalendarRate(tokens, Calendar(unit, UTC_ZONE)))
    except ValueError as error:
        body.refuse("quota", str(error))
        return None
