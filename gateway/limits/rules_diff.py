"""`diff_rules`: what differs between two sets of rules. No user ids: of exempt users, it has the number only."""

from typing import Any

from gateway.limits.address import name_clients
from gateway.limits.condition import values_by_name
from gateway.limits.endpoint import Endpoint
from gateway.limits.holder import document_of
from gateway.limits.limit import Candidate, Limit, format_share
from gateway.limits.override import Block
from gateway.limits.priority import Reserve, format_part
from gateway.limits.quota import quota_fields
from gateway.limits.rules import Rules

_QUOTA_FIELDS = ("rate", "burst", "quota", "zone", "from_day", "at_once")
"""What a limit shows of its quota: those of a rate, or those of a calendar quota. The others are None."""


def diff_rules(old: Rules, new: Rules) -> dict[str, Any]:
    """Endpoints, limits and tiers that were added, removed and changed, by name; of the last, the fields that do."""
    return {
        "endpoints": _compare(
            {name: _endpoint(each) for name, each in old.endpoints.items()},
            {name: _endpoint(each) for name, each in new.endpoints.items()},
        ),
        "limits": _compare(
            {each.name: _limit(each) for each in old.limits}, {each.name: _limit(each) for each in new.limits}
        ),
        "tiers": _compare(_tiers(old), _tiers(new)),
        "block": {"added": _only_in(new.block, old.block), "removed": _only_in(old.block, new.block)},
    }


def touched_limits(changed: dict[str, Any], rules: Rules) -> list[str]:
    """The limits in force that a difference concerns.

    Args:
        changed: What `diff_rules` found.
        rules: The rules in force.

    Returns:
        The names of limits that are removed or changed, or count requests to an endpoint that is, or keep a reserve
        while priorities of tiers change.
    """
    limits, endpoints = (
        {*changed[kind]["removed"], *(each["name"] for each in changed[kind]["changed"])}
        for kind in ("limits", "endpoints")
    )
    tiers = any(changed["tiers"].values())
    return [
        each.name
        for each in rules.limits
        if each.name in limits or any(map(each.applies_to, endpoints)) or (tiers and each.reserve)
    ]


def inventory(rules: Rules) -> dict[str, Any]:
    """All endpoints, limits and priorities of tiers, in the form of `diff_rules`."""
    return {
        "endpoints": [{"name": name, **_shown(_endpoint(each))} for name, each in rules.endpoints.items()],
        "limits": [
            {"name": each.name, **_shown(_limit(each)), **_now(current, rules)}
            for each, current in zip(rules.limits, rules.in_force, strict=True)
        ],
        "tiers": [{"name": tier, **each} for tier, each in sorted(_tiers(rules).items())],
        "block": {"users": len(rules.block.users), "networks": [name_clients(each) for each in rules.block.networks]},
    }


def _now(current: Limit, rules: Rules) -> dict[str, Any]:
    """What a limit with a schedule has at present."""
    return {"in_force": quota_fields(current.quota)} if current.schedule and rules.changes_at != 0 else {}


def _only_in(block: Block, other: Block) -> list[str]:
    """What one block has and another has not; of users, how many."""
    users = len(block.users - other.users)
    networks = [name_clients(each) for each in block.networks if each not in other.networks]
    return [*networks, *[f"{users} user{'s' * (users > 1)}"] * bool(users)]


def _compare(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> dict[str, Any]:
    changed = []
    for name in old.keys() & new.keys():
        before, after = old[name], new[name]
        fields = [field for field in before if before[field] != after[field]]
        if fields:
            changed.append(
                {
                    "name": name,
                    "before": _shown({field: before[field] for field in fields}),
                    "after": _shown({field: after[field] for field in fields}),
                }
            )
    return {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(changed, key=lambda each: str(each["name"])),
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "path": endpoint.template.text if endpoint.template else None,
        "methods": sorted(endpoint.methods),
        "host": endpoint.host,
        "headers": values_by_name(endpoint.headers),
        "query": values_by_name(endpoint.query),
        "upstream": endpoint.upstream,
        "cost": endpoint.cost,
        "measured_cost": endpoint.measured_cost and endpoint.measured_cost.document(),
        "priority": endpoint.priority and endpoint.priority.value,
        "more": endpoint,
    }


def _limit(limit: Limit) -> dict[str, Any]:
    return {
        "per": document_of(limit.per),
        **dict.fromkeys(_QUOTA_FIELDS),
        **quota_fields(limit.quota),
        **({} if limit.quota.unit else {"rate": limit.quota.rate}),  # equal however it is written
        "if_missing": limit.if_missing.value if limit.holder and limit.holder.attributes else None,
        "endpoints": sorted(limit.endpoints),
        "tiers": dict(sorted(limit.tiers.items())),
        "from_claim": limit.from_claim,
        "enforce": limit.enforce,
        "over": limit.over.value,
        "candidate": limit.candidate,
        "reserve": limit.reserve,
        "schedule": limit.schedule,
        "when_redis_is_down": limit.when_redis_is_down.value,
        "exempt": limit.exempt,
    }


def _candidate(candidate: Candidate | None) -> dict[str, Any] | None:
    if candidate is None:
        return None
    tiers = {tier: quota_fields(quota) for tier, quota in sorted(candidate.tiers.items())}
    return {**quota_fields(candidate.quota), "tiers": tiers}


def _reserve(reserve: Reserve) -> dict[str, str] | None:
    if not reserve:
        return None
    return {"normal": format_part(reserve.normal), "low": format_part(reserve.low)}


def _tiers(rules: Rules) -> dict[str, dict[str, Any]]:
    return {tier: {"priority": each.value} for tier, each in rules.priorities.items()}


def _shown(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields in the form in which they may be shown."""
    shown = {
        name: value
        for name, value in fields.items()
        if name not in {"exempt", "more"} and not (name in _QUOTA_FIELDS and value is None)
    }
    if "rate" in shown:
        shown["rate"] = str(fields["rate"])
    if "tiers" in fields:
        shown["tiers"] = {tier: quota_fields(quota) for tier, quota in fields["tiers"].items()}
    if "from_claim" in fields:
        claimed = fields["from_claim"]
        shown["from_claim"] = claimed and {"rate": claimed.attribute, "at_most": str(claimed.at_most)}
    if "enforce" in fields:
        share = fields["enforce"]
        shown["enforce"] = format_share(share) if 0 < share < 1 else bool(share)
    if "candidate" in fields:
        shown["candidate"] = _candidate(fields["candidate"])
    if "reserve" in fields:
        shown["reserve"] = _reserve(fields["reserve"])
    if "schedule" in fields:
        shown["schedule"] = [
            {
                "during": list(map(str, each.during)),
                **quota_fields(each.quota),
                "tiers": {tier: quota_fields(quota) for tier, quota in sorted(each.tiers.items())},
            }
            for each in fields["schedule"]
        ]
    if "exempt" in fields:
        exempt = fields["exempt"]
        shown["exempt"] = {"users": len(exempt.users), "networks": [str(each) for each in exempt.networks]}
    return shown
