"""`caveats_of`: what a replay cannot know, in sentences."""

from collections.abc import Iterable

from gateway.limits.holder import ADDRESS, USER
from gateway.limits.limit import Limit
from gateway.limits.rules import Rules
from gateway.replay.comparison import Comparison
from gateway.replay.log_reader import AccessLogs
from gateway.replay.play import Play
from gateway.settings.gateway import Settings

_FEW = 5
"""Names in a sentence."""


def caveats_of(
    logs: AccessLogs, result: Comparison, before: Play, after: Play, rules: tuple[Rules, Rules], settings: Settings
) -> list[str]:
    """What the reader of a result should know.

    Args:
        logs: What was read.
        result: What came of it.
        before: The rules to compare with, as they were played.
        after: The new rules, as they were played.
        rules: Both: those to compare with, and the new ones.
        settings: Of the gateway.
    """
    return [
        *_always(result, before.evicted + after.evicted),
        *_of_shares(rules),
        *_of_claims(rules),
        *(_of_own_log(before.unknown | after.unknown, rules, settings) if logs.has_own else ()),
        *(_of_web_log(logs, rules) if logs.has_web else ()),
    ]


def _always(result: Comparison, evicted: int) -> Iterable[str]:
    yield (
        "Clients react, and a log does not: one that is refused may wait, or try again at once, and so be refused more "
        "often than this says."
    )
    if result.refused_then:
        yield (
            f"Requests that got a 429 when they were made: {result.refused_then}. What their clients would have sent "
            "otherwise is not in the log."
        )
    yield "All buckets are full at the start of the log. Overrides and bypass tokens do not count."
    if result.late:
        yield (
            f"Requests that stand too late in the log to be sorted: {result.late}. They ended long after they "
            "began, and were played at the time of the request before them."
        )
    if evicted:
        yield (
            f"Buckets that were dropped for want of room before they were full again: {evicted}. So more would be "
            "refused than this says."
        )


def _of_shares(rules: tuple[Rules, Rules]) -> Iterable[str]:
    partial = {limit.name for each in rules for limit in each.limits if limit.is_partial}
    if partial:
        yield (
            f"Limits that are enforced for a share of callers: {_few(partial)}. They refuse the same callers as in the "
            "gateway if the settings have its hash key, otherwise as large a share of others."
        )


def _of_claims(rules: tuple[Rules, Rules]) -> Iterable[str]:
    if claiming := {limit.name for each in rules for limit in each.claiming}:
        yield f"A log has no claims, so these count with their own rate: {_few(claiming)}."


def _of_own_log(unknown: set[str], rules: tuple[Rules, Rules], settings: Settings) -> Iterable[str]:
    before, after = rules
    if 0 < settings.access_log < 1:
        yield (
            f"The gateway logs only {settings.access_log:.12g} of all requests (access_log), and only those count: "
            "far fewer are refused than would be."
        )
    added = after.endpoints.keys() - before.endpoints.keys()
    new = f" New ones get no requests: {_few(added)}." if added else ""
    yield f"The gateway's log has no paths, so a request stays with the endpoint that it had.{new}"
    if unknown:
        yield f"Endpoints of the log that some rules do not have count as the default endpoint: {_few(unknown)}."
    if tiers := after.tiers - before.tiers:
        yield f"The gateway logs only tiers that its limits name, so nobody may be in a new one: {_few(tiers)}."
    if networks := {limit.name for each in rules for limit in each.limits if _is_new(limit, before)}:
        yield (
            "The gateway's log says who a caller is for limits per network or attribute only if its rules needed it "
            f"then, so these may count too little: {_few(networks)}."
        )
    if any(each.block.networks or any(limit.exempt.networks for limit in each.limits) for each in rules):
        yield "The gateway's log has no addresses, so networks that are exempt or blocked are not recognized."
    if any(each.block.attributes or any(limit.exempt.attributes for limit in each.limits) for each in rules):
        yield "The gateway's log has no attributes, so those that are exempt or blocked are not recognized."
    if any(users_of(each) for each in rules):
        yield (
            "Users that are exempt or blocked are recognized if the log was written with the hash key in the settings."
        )


def _of_web_log(logs: AccessLogs, rules: tuple[Rules, Rules]) -> Iterable[str]:
    found = logs.web.found
    yield (
        "Callers are told apart by the user in the log, or else by the address: tokens and API keys are not in it. "
        "Clients behind one address (NAT, a proxy, a load balancer) count as one."
    )
    if named := sorted(
        {limit.name for each in rules for limit in each.limits if limit.holder and limit.holder.attributes}
    ):
        yield f"The log has no attributes, so limits per attribute count nothing: {_few(named)}."
    if "tier" not in found and any(each.tiers for each in rules):
        yield "The log has no tiers, so nobody is in one; --pattern can say where they are."
    if "host" not in found and any(endpoint.host for each in rules for endpoint in each.endpoints.values()):
        yield "Endpoints with a host match only requests whose line names it; --pattern can say where it is."
    if any(endpoint.headers for each in rules for endpoint in each.endpoints.values()):
        yield "The log has no headers, so conditions on headers never hold."
    yield (
        "The log has whole seconds: the requests of a second are spread evenly over it. nginx logs when a request "
        "ended, not when it began."
    )


def _is_new(limit: Limit, before: Rules) -> bool:
    """Whether a limit is per network or attribute, and nothing was in the rules before."""
    holder = limit.holder
    return holder is not None and holder.name not in {USER, ADDRESS, *(each.name for each in before.holders)}


def users_of(rules: Rules) -> frozenset[str]:
    """The ids of users that rules exempt or block."""
    return rules.block.users.union(*(limit.exempt.users for limit in rules.limits))


def _few(names: Iterable[str]) -> str:
    ranked = sorted(names)
    more = f" and {len(ranked) - _FEW} more" if len(ranked) > _FEW else ""
    return ", ".join(ranked[:_FEW]) + more
