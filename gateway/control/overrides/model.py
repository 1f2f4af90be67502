"""`OverrideRecord`: an override as it is written in requests, in answers and in the store."""

import json
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from gateway.control.http.json_body import Members
from gateway.control.timestamps import format_timestamp, parse_timestamp
from gateway.limits.bucket import Quota
from gateway.limits.override import Effect, Override
from gateway.limits.rate import Rate
from gateway.limits.rules import Rules

_LONGEST = 366 * 86_400_000_000
"""Microseconds that an override may last."""

_LARGEST_BURST = 1_000_000_000


class OverrideRecord(NamedTuple):
    """An override, for whom, and who set it.

    Attributes:
        user: The user id in the clear. It is told to whoever may read overrides, and to no log.
        override: What is laid down.
        set_by: The ``sub`` of the token.
        set_at: When, in ISO 8601.
    """

    user: str
    override: Override
    set_by: str
    set_at: str

    def document(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {"user": self.user, **self.change(), "set_by": self.set_by, "set_at": self.set_at}

    def change(self) -> dict[str, Any]:
        """What the audit log tells of it, which is all but whose it is."""
        override = self.override
        document: dict[str, Any] = {"effect": override.effect.value}
        if override.quota is not None:
            document |= {"rate": str(override.quota.rate), "burst": override.quota.burst}
        if override.limits:
            document["limits"] = sorted(override.limits)
        if override.tier is not None:
            document["tier"] = override.tier
        if override.endpoints:
            document["endpoints"] = sorted(override.endpoints)
        return document | {"reason": override.reason, "expires_at": format_timestamp(override.expires_at)}

    def text(self) -> str:
        """As it is stored."""
        return json.dumps(self.document(), separators=(",", ":"))


def restore(text: str) -> OverrideRecord:
    """The record of a text that `OverrideRecord.text` has made."""
    document = json.loads(text)
    user, set_by, set_at = document.pop("user"), document.pop("set_by"), document.pop("set_at")
    return OverrideRecord(user, _override(Members(document)), set_by, set_at)


def read_override(members: Members, rules: Rules, now: int) -> Override:
    """The override in the body of a request.

    Args:
        members: Of the body.
        rules: In force; what is named has to be there.
        now: After which it has to expire, in microseconds since 1970.

    Raises:
        Problem: 400, with all that is wrong.
    """
    return _override(members, lambda: _check(members, rules, now))


def _check(members: Members, rules: Rules, now: int) -> None:
    def known(name: str, words: Collection[str]) -> None:
        for word in members.texts(name):
            if word not in words:
                members.refuse(name, f"there is no {name.rstrip('s')} of one of these names")
                return

    known("endpoints", rules.endpoints.keys())
    if "limits" in members:
        known("limits", {limit.name for limit in rules.limits if limit.per_user})
    if "tier" in members:
        tier = members.text("tier", 64)
        if tier and not any(tier in limit.tiers for limit in rules.limits):
            members.refuse("tier", "no limit has a tier of this name")
    expires_at = _instant(members)
    if expires_at is not None and not now < expires_at <= now + _LONGEST:
        members.refuse("expires_at", "an instant in the future, at most 366 days away")


def _override(members: Members, check: Callable[[], None] = lambda: None) -> Override:
    effect = members.choice("effect", tuple(each.value for each in Effect))
    reason, expires_at = members.text("reason", 500), _instant(members)
    endpoints = frozenset(members.texts("endpoints"))
    quota = _quota(members) if effect == "quota" else None
    limits = frozenset(members.texts("limits")) if effect == "quota" else frozenset[str]()
    tier = members.text("tier", 64) if effect == "tier" else None
    if not members.is_wrong:
        check()
    members.close()
    return Override(Effect(effect), expires_at or 0, reason, endpoints, limits, quota, tier)


def _instant(members: Members) -> int | None:
    text = members.text("expires_at", 64)
    found = parse_timestamp(text)
    if found is None and text:
        members.refuse("expires_at", "an instant in ISO 8601 with its offset, as in 2030-01-31T12:00:00Z")
    return found


def _quota(members: Members) -> Quota | None:
    rate, burst = members.text("rate", 64), members.whole("burst", 1, _LARGEST_BURST)
    if not rate:
        return None
    try:
        return Quota(Rate.parse(rate), burst)
    except ValueError as error:
        members.refuse("rate", str(error))
        return None
