"""`summary`: settings and rules as text for people, the output of `gateway check`."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from gateway.config.loader import Loaded
from gateway.limits.address import name_clients
from gateway.limits.condition import HEADER, Condition
from gateway.limits.endpoint import DEFAULT, Endpoint
from gateway.limits.holder import name_part
from gateway.limits.limit import Limit, Missing, Over, format_share
from gateway.limits.priority import Priority, format_part
from gateway.limits.quota import Quota
from gateway.limits.rules import Rules
from gateway.settings.gateway import Settings
from gateway.settings.size import format_size

_MAX_NAMES = 3
"""Names of a longer list that are shown in a cell."""

_IF_MISSING = {Missing.SKIP: "else none", Missing.REFUSE: "else refused", Missing.SHARED: "else shared"}
"""What becomes of callers who lack an attribute."""


def summary(loaded: Loaded, workers: int) -> str:
    """Settings, endpoints and limits in tables. Shows no secret and no user ID.

    Args:
        loaded: The settings and rules.
        workers: How many workers there would be.
    """
    parts = [
        "\n".join(f"{key:<10}{value}" for key, value in _settings(loaded, workers)),
        table(("ENDPOINT", "METHODS", "HOST", "PATH", "UPSTREAM", "COST", "LIMITS"), _endpoints(loaded.rules)),
    ]
    if loaded.rules.limits:
        parts.append(
            table(
                ("LIMIT", "PER", "ENDPOINTS", "RATE", "BURST", "ENFORCED", "EXEMPT", "WHEN REDIS IS DOWN"),
                (row for limit in loaded.rules.limits for row in _limit(limit)),
            )
        )
    else:
        parts.append("No limits: every request passes.")
    return "\n\n".join(parts)


def _settings(loaded: Loaded, workers: int) -> list[tuple[str, str]]:
    settings, rules = loaded.settings, loaded.rules
    return [
        *(("listen", str(each)) for each in settings.listen),
        *(
            ("control", f"{each}{'' if settings.control.admin else ', read-only: no admin keys'}")
            for each in settings.control.listen
        ),
        *(("door", f"{name} on {', '.join(map(str, each.listen))}") for name, each in settings.doors.by_name.items()),
        ("store", str(settings.store)),
        ("workers", f"{workers}{_why(settings)}"),
        *([("analytics", str(settings.analytics))] if settings.analytics.is_on else []),
        *(("upstream", f"{each.name}: {', '.join(map(str, each.urls))}") for each in settings.upstreams.values()),
        *([("tracing", f"{settings.tracing.endpoint}, sample {settings.tracing.sample}")] if settings.tracing else []),
        ("rules", f"{settings.rules} revision {rules.revision}" if settings.rules else "none"),
        *((f"tier {tier}", f"priority {each.value}") for tier, each in rules.priorities.items()),
        *([("blocked", blocked)] if (blocked := _blocked(rules)) else []),
    ]


def _blocked(rules: Rules) -> str:
    names = [name_clients(network) for network in rules.block.networks]
    others = [*_users(rules.block.users), *_attributes(rules.block.attributes)]
    return ", ".join([*([_few(names)] if names else []), *others])


def _users(users: Collection[str]) -> list[str]:
    return [f"{len(users)} user{'s' * (len(users) > 1)}"] * bool(users)


def _attributes(pairs: Collection[tuple[str, str]]) -> list[str]:
    counts = Counter(name for name, _ in pairs)
    return [f"{count} {name}{'s' * (count > 1)}" for name, count in sorted(counts.items())]


def _why(settings: Settings) -> str:
    if settings.workers is not None or settings.store.url is None:
        return ""
    return ", one for each processor that this process may use"


def _default_last(rules: Rules) -> list[Endpoint]:
    return [*(each for each in rules.endpoints.values() if each.name != DEFAULT), rules.default]


def _endpoints(rules: Rules) -> list[tuple[str, ...]]:
    """A row for each endpoint, and below it one for each of its conditions."""
    return [
        row
        for endpoint in _default_last(rules)
        for row in (
            _endpoint(endpoint, rules),
            *([(f"  priority {endpoint.priority.value}", *[""] * 6)] if endpoint.priority else []),
            *(("", "", "", f"  {_condition(condition)}", "", "", "") for condition in endpoint.conditions),
        )
    ]


def _condition(condition: Condition) -> str:
    values = _few([value or "(empty)" for value in sorted(condition.values)])
    return f"{condition.name}: {values}" if condition.source == HEADER else f"?{condition.name}={values}"


def _endpoint(endpoint: Endpoint, rules: Rules) -> tuple[str, ...]:
    return (
        endpoint.name,
        _few(sorted(endpoint.methods)) or "any",
        endpoint.host or "any",
        endpoint.template.text if endpoint.template else "(everything else)",
        endpoint.upstream,
        _cost(endpoint),
        ", ".join(limit.name for limit in rules.limits if limit.applies_to(endpoint.name)) or "none",
    )


def _cost(endpoint: Endpoint) -> str:
    measured = endpoint.measured_cost
    if measured is None:
        return str(endpoint.cost)
    if measured.header is not None:
        return f"{endpoint.cost}, then {measured.header.decode()}"
    if measured.per is not None:
        return f"1 per {format_size(measured.per)}"
    if measured.charge_on:
        return f"{endpoint.cost} if {_few([str(status) for status in sorted(measured.charge_on)])}"
    return f"{endpoint.cost}, or given back"


def _limit(limit: Limit) -> list[tuple[str, ...]]:
    per = " and ".join(map(name_part, limit.per)) or "all"
    exempt = [*_users(limit.exempt.users), *map(str, limit.exempt.networks), *_attributes(limit.exempt.attributes)]
    if limit.holder and limit.holder.attributes:
        per += f", {_IF_MISSING[limit.if_missing]}"
    first = (
        limit.name,
        per,
        _few(sorted(limit.endpoints)) or "all",
        *_quota(limit.quota),
        _enforced(limit),
        _few(exempt) or "none",
        limit.when_redis_is_down.value,
    )
    tiers = [(f"  tier {tier}", "", "", *_quota(quota), "", "", "") for tier, quota in limit.tiers.items()]
    if claimed := limit.from_claim:
        tiers.append((f"  attribute {claimed.attribute}", "", "", f"at most {claimed.at_most}", "", "", "", ""))
    candidate = limit.candidate
    if candidate is not None:
        quotas = [("  candidate", candidate.quota)]
        quotas += [(f"  candidate, tier {tier}", quota) for tier, quota in candidate.tiers.items()]
        tiers += [(name, "", "", *_quota(each), "no, candidate", "", "") for name, each in quotas]
    for each_time in limit.schedule:
        tiers.append((f"  {each_time}", "", "", *_quota(each_time.quota), "", "", ""))
        tiers += [(f"    tier {tier}", "", "", *_quota(size), "", "", "") for tier, size in each_time.tiers.items()]
    if limit.reserve:
        for priority in (Priority.NORMAL, Priority.LOW):
            kept = format_part(limit.reserve.kept_from(priority))
            tiers.append((f"  keeps {kept} from {priority.value}", "", "", "", "", "", "", ""))
    return [first, *tiers]


def _quota(quota: Quota) -> tuple[str, str]:
    """Rate and burst; a calendar quota has no burst."""
    if quota.at_once:
        return str(quota), "-"
    if quota.calendar is None:
        return str(quota.rate), str(quota.burst)
    return f"{quota.burst}/{quota.calendar}", "-"


def _enforced(limit: Limit) -> str:
    if limit.over is Over.TELL:
        return "no, tells"
    if limit.is_partial:
        return f"for {format_share(limit.enforce)} of callers"
    return "yes" if limit.enforce else "no, shadow"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Rows under a head, in columns."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
