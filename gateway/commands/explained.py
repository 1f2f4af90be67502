"""An explanation as text: what `gateway explain` prints of the document that it is in JSON."""

from typing import Any

from gateway.commands.override import quota_text
from gateway.config.summary import table
from gateway.limits.address import group, parse_address
from gateway.limits.holder import NETWORK, Prefixes, name_part

_CLAIMS = {
    None: "the caller's own rate, from {}",
    "missing": "the caller has no {}, so no rate of their own",
    "invalid": "the caller's {} is not a whole number, so no rate of their own",
    "above_most": "the caller's {} is above at_most",
}
"""What `from_claim` means for a caller, by why their rate does not count."""


def lines_of(document: dict[str, Any]) -> list[str]:
    """An explanation for people, line by line."""
    if not document["served"]:
        return [f"rejected with {document['status']}, reason {document['reason']}: {document['why']}"]
    request, endpoint = document["request"], document["endpoint"]
    host = f" of {request['host']}" if request["host"] else ""
    return [
        f"request   {request['method']} {request['path']}{host}",
        f"endpoint  {endpoint['name']}: {_selector(endpoint)}",
        *(f"          not {each['name']} ({_selector(each)}): {each['why']}" for each in document["runners_up"]),
        *_measured(endpoint.get("measured_cost")),
        *_caller(document["caller"]),
        *[f"priority  {document['priority']}"] * _matters(document),
        *map(_override, document["overrides"]),
        *[f"left out  {', '.join(document['left_out'])}: say who the user is with --attribute"]
        * bool(document["left_out"]),
        *[f"exempt    from {', '.join(document['exempt_from'])}"] * bool(document["exempt_from"]),
        "",
        *_buckets(document),
    ]


def _measured(cost: dict[str, Any] | None) -> list[str]:
    """How what a request costs is found when it has ended."""
    if cost is None:
        return []
    rules = {
        "header": "then what the header {} of the response says",
        "per": "then 1 for each {} bytes of the response",
        "charge_on": "charged only if the status is {}",
    }
    how = [text.format(_listed(cost[name])) for name, text in rules.items() if name in cost]
    how += [f"at most {cost['at_most']}"] * ("at_most" in cost)
    how += [f"nothing if it is {_listed(cost['give_back_on'])}"] * bool(cost["give_back_on"])
    return [f"cost      {cost['estimate']} at first, {', '.join(how)}"]


def _listed(values: Any) -> str:
    return " or ".join(map(str, values)) if isinstance(values, list) else str(values)


def _matters(document: dict[str, Any]) -> bool:
    """Whether the priority of the request is worth a line."""
    return document["priority"] != "normal" or any(each["reserve"] != "0%" for each in document["buckets"])


def _selector(endpoint: dict[str, Any]) -> str:
    if endpoint["path"] is None:
        return "everything that no other matches"
    host = f"{endpoint['host']}" if endpoint["host"] else ""
    return f"{', '.join(endpoint['methods']) or 'any method'} {host}{endpoint['path']}{_conditions(endpoint)}"


def _conditions(endpoint: dict[str, Any]) -> str:
    """What a request must have besides method, host and path."""
    headers = [f"the header {name} is {_either(values)}" for name, values in endpoint["headers"].items()]
    keys = [f"the query key {name} is {_either(values)}" for name, values in endpoint["query"].items()]
    return f" if {' and '.join([*headers, *keys])}" if headers or keys else ""


def _either(values: list[str]) -> str:
    return " or ".join(value or "empty" for value in values)


def _client(text: str | None) -> str:
    """A client known by address only, and what is counted as one with it."""
    address = parse_address(text or "")
    if address is None:
        return f"address {text or 'unknown'}"
    counted = group(address)
    return f"address {text}" + f" (all of {counted} is one caller)" * (counted != text)


def _caller(caller: dict[str, Any]) -> list[str]:
    who = f"user {caller['user']}" if caller["user"] else _client(caller["address"])
    source = {"given": "named by --user", "client_address": "known by nothing but the address"}.get(
        caller["source"], f"identified by {caller['source']}"
    )
    return [
        f"caller    {who}, {source}; in the log {caller['caller']}",
        *(f"          {each['source']} ({each['reads']}): {each['why']}" for each in caller["attempts"]),
        f"tier      {caller['tier'] or 'none'}",
        *(f"has       {name} {value}" for name, value in caller["attributes"].items()),
    ]


def _override(override: dict[str, Any]) -> str:
    effect = override["effect"]
    if effect == "quota":
        effect = quota_text(override)
    elif effect == "tier":
        effect = f"tier {override['tier']}"
    until = f", until {override['expires_at']}" if override.get("expires_at") else ""
    return f"override  {effect}{until}: {override['reason']}"


def _buckets(document: dict[str, Any]) -> list[str]:
    if document["blocked"]:
        return ["The caller is blocked: every request is refused, and charged to no bucket."]
    if not document["buckets"]:
        return ["No limit counts this request: it passes."]
    is_running = "allowed" in document
    head = ("LIMIT", "PER", "RATE", "BURST", "TAKES", *["HOLDS", "CAN PAY"] * is_running, "")
    rows = [
        (
            each["limit"],
            " and ".join(map(_part, each["per"])),
            each.get("rate") or each.get("quota") or f"{each['at_once']} at once",
            str(each.get("burst", "-")),
            str(each["cost"]),
            *((str(each["remaining"]), _payable(each)) if is_running else ()),
            _note(each),
        )
        for each in document["buckets"]
    ]
    return [*table(head, rows).splitlines(), *(["", _outcome(document)] if is_running else [])]


def _part(part: Any) -> str:
    """A part of what a limit is per: a word, or a network."""
    return part if isinstance(part, str) else name_part(Prefixes(**part[NETWORK]))


def _payable(bucket: dict[str, Any]) -> str:
    if bucket["remaining"] >= bucket["cost"]:
        return "now"
    if bucket.get("at_once") and bucket["payable"]:
        return "when one ends"
    return f"from {bucket['payable_at']}" if bucket["payable_at"] else "never"


def _note(bucket: dict[str, Any]) -> str:
    keeps = bucket.get("reserve", "0%") != "0%"
    most = "may give" if keeps else "holds"
    missing = " and ".join(bucket.get("missing", ()))
    if missing and not bucket["payable"]:
        notes = [f"never passes: the caller has no {missing}"]
    elif missing:
        notes = [f"the caller has no {missing}: one bucket for all such"]
    else:
        notes = [f"never passes: it costs more than the bucket {most}"] * (not bucket["payable"])
    if claim := bucket.get("from_claim"):
        notes.append(_CLAIMS[claim["unusable"]].format(claim["attribute"]))
    notes += [f"{bucket['reserve']} kept for a higher priority"] * keeps
    return "; ".join([*notes, *_why_not_enforced(bucket)])


def _why_not_enforced(bucket: dict[str, Any]) -> list[str]:
    share = bucket.get("enforce", "true")
    if bucket.get("candidate"):
        return ["a candidate, never refuses"]
    if bucket.get("over") == "tell":
        return ["never refuses, tells the upstream"]
    if share.endswith("%"):
        return [f"enforced for {share} of callers, {'this one included' if bucket['enforced'] else 'not this one'}"]
    return ["not enforced"] * (not bucket["enforced"])


def _outcome(document: dict[str, Any]) -> str:
    degraded = " Redis is unavailable; this is one worker's view." if document["degraded"] else ""
    if document["unavailable"]:
        return f"It would get a 503, because a limit says when_redis_is_down: refuse.{degraded}"
    if document["allowed"]:
        told = [each["limit"] for each in document["buckets"] if each["over"] == "tell" and _payable(each) != "now"]
        and_told = f", and the upstream would be told of {', '.join(told)}" if told else ""
        return f"It would pass now{and_told}.{degraded}"
    refusing = [each["limit"] for each in document["buckets"] if each["enforced"] and _payable(each) != "now"]
    until = document["allowed_from"]
    when = f"until {until}, if nothing else is charged until then" if until else "always"
    if any(_payable(each) == "when one ends" for each in document["buckets"] if each["enforced"]):
        when = "until a request that is in flight ends"
    return f"It would be refused by {', '.join(refusing)}, {when}.{degraded}"
