"""`Explanation`: which rules apply to a request, and why; a value that takes nothing from any bucket."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.limits.address import Address
from gateway.limits.caller import MISSING, Caller
from gateway.limits.charge import Demand
from gateway.limits.claimed_rate import Unusable
from gateway.limits.compiled_limit import digest_in
from gateway.limits.condition import values_by_name
from gateway.limits.endpoint import Endpoint
from gateway.limits.holder import USER, document_of
from gateway.limits.identification import Attempt
from gateway.limits.limit import Limit, format_share, is_candidate, live_name
from gateway.limits.override import BLOCKED, Override
from gateway.limits.priority import Priority, format_part
from gateway.limits.quota import quota_fields
from gateway.limits.rules import Rules
from gateway.limits.runners_up import Request, RunnerUp, runners_up

_METHOD = re.compile(r"[A-Z_-]+", re.ASCII)
_SPACE = re.compile(r"[\s\0\ud800-\udc7f\udd00-\udfff]")
_BREAK = re.compile(r"[\r\n\0\ud800-\udc7f\udd00-\udfff]")
"""Line breaks, and surrogates that stand for no byte."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request that somebody wants to be explained.

    Attributes:
        method: As a client would send it.
        target: The request target: a path, perhaps with a query, or a URL.
        headers: Names and values.
        address: Of the other end of the connection; None if it is unknown.
        user: Whose request it is, whatever the headers say; None for whom the headers identify.
        tier: The tier of that user.
        attributes: All attributes of that user, by name; none if they are not known.
        token: A caller's token, which is sent as the settings say.
        certificate: The client's certificate, in DER.

    Raises:
        ValueError: it is not one request, because something has a line break or a space too many; or the user id is
            empty.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    address: Address | None = None
    user: str | None = field(default=None, repr=False)
    tier: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _METHOD.fullmatch(self.method):
            raise ValueError("a method is one word in capitals, such as GET")
        if not self.target or _SPACE.search(self.target):
            raise ValueError("a target has no white space; write it as %20")
        for name, value in self.headers:
            if not name or _SPACE.search(name) or ":" in name or _BREAK.search(value):
                raise ValueError("a header is one line, such as X-Plan: gold")
        if self.user == "":
            raise ValueError("a user id is not empty; without one, the headers say who the caller is")
        if self.token is not None and _BREAK.search(self.token):
            raise ValueError("a token is one line")


class Unserved(NamedTuple):
    """A request that the gateway does not serve, so that no limit counts it.

    Attributes:
        status: Of the response.
        reason: Why, as a label; as in the access log.
        why: The same in a sentence.
    """

    status: int
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the rules treat a request.

    Attributes:
        request: Method, host and the canonical path.
        endpoint: The one to which it belongs.
        runners_up: Other endpoints that it could have belonged to.
        caller: Whom it is charged to.
        attempts: What each source found.
        tier: The tier that counts.
        priority: How much the request matters.
        overrides: What is set for the caller's user id and address, and what blocks them.
        exempt: Names of the limits from which the caller is exempt.
        left_out: Names of limits that may count the request, but it is not known whose bucket.
        demands: The buckets, and what the request is charged.
        limits: By name, those of the rules.
    """

    request: Request
    endpoint: Endpoint
    runners_up: tuple[RunnerUp, ...]
    caller: Caller
    attempts: tuple[Attempt, ...]
    tier: str | None
    priority: Priority
    overrides: tuple[Override, ...]
    exempt: tuple[str, ...]
    left_out: tuple[str, ...]
    demands: tuple[Demand, ...]
    limits: dict[str, Limit]

    @property
    def path(self) -> str:
        """The canonical path."""
        return "/" + "/".join(self.request.segments)


def explain(
    rules: Rules, endpoint: Endpoint, request: Request, caller: Caller, found: tuple[Attempt, ...]
) -> Explanation:
    """How rules treat a caller's request, which belongs to an endpoint."""
    others = [each for each in rules.endpoints.values() if each.template is not None]
    tier = rules.tier_of(endpoint.name, caller)
    return Explanation(
        request=request,
        endpoint=endpoint,
        runners_up=runners_up(others, endpoint, request, case_sensitive=rules.paths.case_sensitive),
        caller=caller,
        attempts=found,
        tier=tier,
        priority=rules.priority(endpoint, tier),
        overrides=rules.overrides_of(endpoint.name, caller),
        exempt=tuple(rules.exempt(endpoint, caller)),
        left_out=_left_out(rules, endpoint, caller),
        demands=tuple(rules.demands(endpoint, caller)),
        limits={limit.name: limit for limit in rules.limits},
    )


def _left_out(rules: Rules, endpoint: Endpoint, caller: Caller) -> tuple[str, ...]:
    known = {USER, *caller.digests}
    return tuple(
        limit.name
        for limit in rules.limits
        if limit.applies_to(endpoint.name) and limit.holder is not None and limit.holder.name not in known
    )


def as_document(explained: Explanation | Unserved) -> dict[str, Any]:
    """An explanation as JSON has it."""
    if isinstance(explained, Unserved):
        return {"served": False, **explained._asdict()}
    endpoint, caller = explained.endpoint, explained.caller
    return {
        "served": True,
        "request": {"method": explained.request.method, "host": explained.request.host, "path": explained.path},
        "endpoint": {
            **_endpoint(endpoint),
            "upstream": endpoint.upstream,
            "cost": endpoint.cost,
            "measured_cost": endpoint.measured_cost and endpoint.measured_cost.document(),
        },
        "runners_up": [{**_endpoint(each), "why": why} for each, why in explained.runners_up],
        "caller": {
            "user": caller.id or None,
            "address": None if caller.address is None else str(caller.address),
            "caller": caller.digest.decode(),
            "source": caller.source,
            "tier": explained.tier,
            "attributes": dict(caller.attributes),
            "attempts": [each._asdict() for each in explained.attempts],
        },
        "priority": explained.priority.value,
        "overrides": [_override(each) for each in explained.overrides],
        "exempt_from": list(explained.exempt),
        "left_out": list(explained.left_out),
        "blocked": any(demand.charge.limit == BLOCKED for demand in explained.demands),
        "buckets": _buckets(explained, explained.demands),
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "path": endpoint.template.text if endpoint.template else None,
        "methods": sorted(endpoint.methods),
        "host": endpoint.host,
        "headers": values_by_name(endpoint.headers),
        "query": values_by_name(endpoint.query),
    }


def _override(override: Override) -> dict[str, Any]:
    quota = override.quota
    return {
        "effect": override.effect.value,
        "reason": override.reason,
        **(quota_fields(quota) if quota else {}),
        **({"tier": override.tier} if override.tier else {}),
    }


def _is_shared(limit: Limit, key: bytes) -> bool:
    """Whether a limit's bucket with this key is charged for other callers, too."""
    return limit.holder is None or limit.holder.is_shared or digest_in(key) is None


def _missing(explained: Explanation, limit: str, key: bytes) -> list[str]:
    """The attributes that the caller lacks, which says to which bucket a request is charged, or that it is refused."""
    holder = explained.limits[live_name(limit)].holder
    if holder is None or not key.endswith(b":" + MISSING):
        return []
    return [name for name in holder.attributes if name not in explained.caller.attributes]


def _claim(explained: Explanation, name: str) -> dict[str, str | None] | None:
    """Where the caller's rate for a limit stands, and why it does not count; None if no caller has one."""
    claimed = explained.limits[live_name(name)].from_claim
    if claimed is None or is_candidate(name):
        return None
    rate = claimed.read(explained.caller.attributes)
    return {"attribute": claimed.attribute, "unusable": rate.value if isinstance(rate, Unusable) else None}


def _buckets(explained: Explanation, demands: Sequence[Demand]) -> list[dict[str, Any]]:
    return [
        {
            "limit": charge.limit,
            "per": document_of(explained.limits[live_name(charge.limit)].per),
            "shared": _is_shared(explained.limits[live_name(charge.limit)], key),
            **quota_fields(charge.quota),
            "cost": charge.cost,
            "reserve": format_part(0.0 if charge.is_closed else charge.reserve),
            "missing": _missing(explained, charge.limit, key),
            "from_claim": _claim(explained, charge.limit),
            "payable": charge.due <= charge.ceiling,
            "enforced": charge.enforced,
            "over": "tell" if charge.tells else "refuse",
            "candidate": is_candidate(charge.limit),
            "enforce": format_share(explained.limits[live_name(charge.limit)].enforce),
        }
        for key, charge in ((demand.key, demand.charge) for demand in demands)
        if charge.limit != BLOCKED
    ]
