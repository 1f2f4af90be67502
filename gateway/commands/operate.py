"""`gateway reload`, `gateway usage` and `gateway status`: ask a running gateway to reload, what is left, how it is."""

import argparse
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from prometheus_client.parser import text_string_to_metric_families

from gateway.auth.grant import Scope
from gateway.commands.console import print_output, printable_lines
from gateway.commands.control_client import (
    TARGET,
    ControlClient,
    ControlClientError,
    add_client_flags,
    target_path,
)
from gateway.telemetry.definitions import CONNECTIONS, FLEET, REDIS_UP, RULES, WORKER_UP

_OK = 200
_DEGRADED = "Redis is unavailable; these are the worker's own buckets"
_GAUGES = {WORKER_UP: "up", REDIS_UP: "redis", FLEET: "fleet", CONNECTIONS: "connections"}


def add_commands(commands: Any) -> None:
    """Add them to argparse's subcommands. They raise `ControlClientError`."""
    reload = commands.add_parser(
        "reload", help="have a running gateway read its rules again",
        description="Have a running gateway read its rules, certificates and keys again. It applies them in every "
        "worker or in none.",
    )  # fmt: skip
    reload.add_argument("--dry-run", action="store_true", help="only show what would change")
    reload.add_argument("--fleet", action="store_true", help="then the other gateways on the same Redis, too")
    reload.add_argument(
        "--confirm-within", metavar="TIME",
        help="take it back after this time, as in 5m, unless `gateway confirm` follows",
    )  # fmt: skip
    reload.add_argument("--force", action="store_true", help="even if these very files were rolled back")
    add_client_flags(reload)
    reload.set_defaults(run=_reload)

    usage = commands.add_parser("usage", help="show what a user has left", description="Show what a user has left.")
    usage.add_argument("target", help=TARGET)
    usage.add_argument("--tier", help="as a user of this tier (default: the one in which the user was seen last)")
    add_client_flags(usage)
    usage.set_defaults(render=_usage)

    status = commands.add_parser(
        "status", help="show a running gateway's workers, rules and Redis, and the other gateways",
        description="Show a running gateway's workers, the revision of its rules, and whether it decides with Redis.",
    )  # fmt: skip
    add_client_flags(status)
    status.set_defaults(render=_status)


def _reload(options: argparse.Namespace) -> int:
    flags = [f"{name}=true" for name in ("dry_run", "fleet", "force") if getattr(options, name)]
    if options.confirm_within is not None:
        flags.append(f"confirm_within={quote(options.confirm_within, safe='')}")
    path = f"/api/v1/admin/reload{'?' * bool(flags)}{'&'.join(flags)}"
    try:
        result = ControlClient(options, Scope.RELOAD).call("POST", path)
    except ControlClientError as refusal:
        if "changed" in refusal.document:
            print_reload(refusal.document, options)
        raise
    print_reload(result, options)
    require_fleet(result, "reloaded")
    return 0


def require_fleet(result: Mapping[str, Any], done: str) -> None:
    """Fail if a gateway of the fleet has not done what it was asked to.

    Raises:
        ControlClientError: one has not.
    """
    late = [name for name, other in result.get("gateways", {}).items() if not other or other["status"] != _OK]
    if late:
        raise ControlClientError(f"not every gateway has {done}: {', '.join(late)}")


def print_reload(result: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Print the result of a reload or a rollback."""
    print_output(json.dumps(result) if options.json else printable_lines(_reload_lines(result)))


def _reload_lines(result: Mapping[str, Any]) -> list[str]:
    verb, stays = ("would be", "would stay") if result["dry_run"] else ("are", "stay")
    became = f"refused; {result['previous']} {stays} in force"
    if "problems" not in result:
        became = f"in force, before {result['previous']}"
    if result.get("number"):
        became += f"; revision {result['number']}"
    lines = [f"rules {result['revision']} {verb} {became}"]
    for kind, changes in result["changed"].items():
        lines += [f"  {kind} {change}: {', '.join(map(_change, names))}" for change, names in changes.items() if names]
    if result["certificates"]:
        lines.append(f"  certificates changed: {', '.join(result['certificates'])}")
    if "token_keys" in result["keys"]:
        lines.append(f"  token keys changed: {', '.join(result['keys']['token_keys'])}")
    if "api_keys" in result["keys"]:
        counts = ", ".join(f"{count} {what}" for what, count in result["keys"]["api_keys"].items())
        lines.append(f"  API keys: {counts}")
    lines += [f"  warning: {warning}" for warning in result["warnings"]]
    if (tests := result.get("tests")) and (tests["passed"] or tests["failed"]):
        lines.append(f"  tests: {tests['passed']} passed" + f", {tests['failed']} failed" * bool(tests["failed"]))
    if "analytics" in result:
        lines += _analytics_lines(result["analytics"])
    if result.get("confirm_by"):
        lines.append(f"  to be confirmed by {result['confirm_by']}: gateway confirm")
    return [*lines, *fleet_lines(result)]


def fleet_lines(result: Mapping[str, Any]) -> list[str]:
    """What each other gateway of the fleet has answered."""
    lines = []
    for name, other in result.get("gateways", {}).items():
        said = other.get("detail") or other.get("revision") or other["status"] if other else "no answer"
        lines.append(f"  gateway {name}: {said}")
    return lines


def _analytics_lines(analytics: Mapping[str, Any]) -> list[str]:
    """What the limits that a dry run touches have decided in the last minutes."""
    if not analytics["available"]:
        return [f"  analytics: {analytics['why']}"]
    if not analytics["limits"]:
        return ["  analytics: no limit in force is touched"]
    return [
        f"  analytics, {analytics['since']} to {analytics['until']}:",
        *(f"    {each['limit']}: {_decisions(each)}" for each in analytics["limits"]),
    ]


def _decisions(limit: Mapping[str, Any]) -> str:
    """How often a limit allowed and refused, and whom."""
    counts = [f"{limit['allowed']} allowed", f"{limit['refused']} refused"]
    counts += [f"{limit['shadow_refused']} not enforced"] * bool(limit["shadow_refused"])
    counts += [f"{limit['told']} told the upstream"] * bool(limit["told"])
    counts += [f"{limit['unavailable']} unavailable"] * bool(limit["unavailable"])
    callers = limit["callers_refused_at_least"]
    return ", ".join(counts) + f"; {callers} caller{'s' * (callers > 1)} refused at least" * bool(callers)


def _change(change: Any) -> str:
    """What was added, removed or changed: a name, and of a change each key as it was and as it is."""
    if not isinstance(change, dict):
        return str(change)
    before, after = change.get("before", {}), change.get("after", {})
    keys = [f"{key} {_value(before.get(key))} -> {_value(after.get(key))}" for key in {**before, **after}]
    return f"{change['name']} ({', '.join(keys)})" if keys else str(change["name"])


def _value(value: Any) -> str:
    """A value as the rule files have it, without what is empty in it."""
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{key}: {_value(each)}' for key, each in value.items() if each != {})}}}"
            if value
            else "none"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]" if value else "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _usage(options: argparse.Namespace) -> str:
    query = f"?tier={quote(options.tier, safe='')}" if options.tier is not None else ""
    client = ControlClient(options, Scope.READ_LIMITS)
    result = client.call("GET", f"/api/v1/admin/usage/{target_path(options.target)}{query}")
    if options.json:
        return json.dumps(result)
    tier = [f"as a user of tier {result['tier']}"] if result.get("tier") else []
    lines = [_bucket_line(bucket) for bucket in result["buckets"]] or ["no limit has a bucket for this target"]
    return printable_lines([*tier, *lines, *[_DEGRADED] * result["degraded"]])


def _bucket_line(bucket: dict[str, Any]) -> str:
    name = f"{bucket['limit']} at {bucket['endpoint']}" if bucket["endpoint"] else bucket["limit"]
    shared = "  (shared with other callers)" if bucket["shared"] else ""
    shadow = "" if bucket["enforced"] else "  (not enforced)"
    if "address" in bucket:
        name = f"{bucket['address']}  {name}"
    if "at_once" in bucket:
        in_use = bucket["at_once"] - bucket["remaining"]
        return f"{name}  {in_use} of {bucket['at_once']} in use{shared}{shadow}"
    if "rate" in bucket:
        most, form = bucket["burst"], f"rate {bucket['rate']}"
    else:
        most, form = bucket["quota"].partition("/")[0], f"quota {bucket['quota']}"
    left = f"{bucket['remaining']} of {most} left"
    return f"{name}  {left}  {form}  full at {bucket['reset_at']}{shared}{shadow}"


def _status(options: argparse.Namespace) -> str:
    client = ControlClient(options, Scope.READ_LIMITS)
    rules = client.call("GET", "/api/v1/admin/rules")
    ready = client.get("GET", "/readyz").document()["status"]
    workers = _workers(client.get("GET", "/metrics").text)
    fleet = client.call("GET", "/api/v1/admin/gateways")
    result = {
        **fleet,
        "status": ready,
        "revision": rules["revision"],
        "since": rules["since"],
        "number": rules["number"],
        "pinned": rules["pinned"],
        "unconfirmed": rules["unconfirmed"],
        "endpoints": len(rules["endpoints"]),
        "limits": len(rules["limits"]),
        "workers": workers,
    }
    if options.json:
        return json.dumps(result)
    counts = f"{result['endpoints']} endpoints, {result['limits']} limits"
    head = f"{ready}; rules {rules['revision']} since {rules['since']}: {counts}"
    lines = [f"  gateway {fleet['gateway']}", *(_worker_line(worker, rules["revision"]) for worker in workers)]
    others = [each for each in fleet["gateways"] if each != fleet["gateway"]]
    lines = [head, *_terms_lines(rules), *lines, *(f"  other gateway {each}" for each in others)]
    return printable_lines(lines)


def _terms_lines(rules: Mapping[str, Any]) -> list[str]:
    """On what terms the rules are in force, if that is worth a line."""
    lines = []
    if pinned := rules["pinned"]:
        since, actor, reason = pinned["since"], pinned["actor"], pinned["reason"]
        lines.append(f"  PINNED to revision {rules['number']} since {since} by {actor}: {reason}")
    if unconfirmed := rules["unconfirmed"]:
        lines.append(
            f"  UNCONFIRMED: revision {unconfirmed['returns_to']} is in force again after {unconfirmed['confirm_by']}"
        )
    return lines


def _workers(exposition: str) -> list[dict[str, Any]]:
    """The workers, by number, as the metrics describe them."""
    workers: dict[str, dict[str, Any]] = {}
    names = {definition.name: key for definition, key in _GAUGES.items()}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            number = sample.labels.get("worker")
            if number is None:
                continue
            worker = workers.setdefault(number, {"worker": int(number)})
            if sample.name == RULES.name and sample.value:
                worker["revision"] = sample.labels["revision"]
            elif (key := names.get(sample.name)) is not None:
                worker[key] = bool(sample.value) if key in {"up", "redis"} else int(sample.value)
    return [worker for _, worker in sorted(workers.items(), key=lambda item: int(item[0]))]


def _worker_line(worker: dict[str, Any], revision: str) -> str:
    if not worker.get("up"):
        return f"  worker {worker['worker']}  down"
    redis = {True: "with Redis", False: "from memory, because Redis is unavailable", None: "in memory"}[
        worker.get("redis")
    ]
    fleet = f"  sees {worker['fleet']} workers in the fleet" if worker.get("fleet") else ""
    own = worker.get("revision", revision)
    stale = f"  RULES {own}" if own != revision else ""
    return f"  worker {worker['worker']}  up  decides {redis}{fleet}  {worker.get('connections', 0)} connections{stale}"
