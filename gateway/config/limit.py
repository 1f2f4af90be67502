"""Reads `limits` and exemptions."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from gateway.config.claimed_rate import FROM_CLAIM, check_claim
from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.exemption import EXEMPT, unite
from gateway.config.node import Node, quote
from gateway.config.number import percentage
from gateway.config.per import Sources, check_attributes, check_named, if_missing, per, warn_of_skipped
from gateway.config.priority import RESERVE, check_reserve, warn_of_unused
from gateway.config.quota import (
    CALENDAR_MEANINGS,
    CANDIDATE,
    EXCLUSIVE,
    FORMS,
    QUOTA_MEANINGS,
    amount,
    at_once,
    burst,
    from_day,
    quota,
    quota_like,
    quotas_like,
    rate,
    tiers,
    zone,
)
from gateway.config.reader import Value
from gateway.config.scalar import choice, each, name, text
from gateway.config.schedule import SCHEDULE, schedule
from gateway.config.section import Section
from gateway.limits.charge import FailurePolicy, ceiling_of
from gateway.limits.endpoint import Endpoint
from gateway.limits.holder import ENDPOINT, Holder, Part
from gateway.limits.limit import Candidate, Exemption, Limit, Over
from gateway.limits.priority import Priority, format_part, priority_of
from gateway.limits.quota import Quota

_AS_READ = ("enforce", "from_claim", "if_missing", "over", "reserve", "when_redis_is_down")
"""Keys whose values a limit takes as they are."""
_ALL = {"*", "**", "/*", "/**", "any", "all"}
"""How other products write that all endpoints are meant."""
_texts = each(text, least=1)
_failure_policy = choice(*(policy.value for policy in FailurePolicy))
_over = choice(*(over.value for over in Over))


LIMIT = Section(
    "limits",
    {
        "name": name,
        "per": per,
        "if_missing": if_missing,
        "endpoints": Value(Node.items, _texts.words, _texts.schema),
        "rate": rate,
        "burst": burst,
        "quota": amount,
        "at_once": at_once,
        "zone": zone,
        "from_day": from_day,
        "tiers": tiers,
        "from_claim": FROM_CLAIM,
        "enforce": percentage,
        "over": _over.then(Over),
        "candidate": CANDIDATE,
        "exempt": EXEMPT,
        "reserve": RESERVE,
        "schedule": SCHEDULE,
        "when_redis_is_down": _failure_policy.then(FailurePolicy),
    },
    (Limit,),
    lambda entries: entries,
    required=("name", "per"),
    meanings={
        "name": "Unique; a metric label, and part of its buckets' keys.",
        "per": "Who shares a bucket: each `user` has one, each client's `address` (whoever's token it sends), each "
        "network (`{network: {ipv4: 24, ipv6: 48}}`), each value of an attribute such as `org`, each `endpoint`, or "
        "each combination in a list; or `all` requests that the limit counts share one.",
        "if_missing": "For limits per attribute, and required there: requests of callers who lack it are not counted "
        "(`skip`), get a 429 (`refuse`), or share one bucket (`shared`).",
        **QUOTA_MEANINGS,
        **CALENDAR_MEANINGS,
        "endpoints": "The endpoints it counts; without it all, including the default one.",
        "tiers": "Rate and burst of users on a tier, or their quota or `at_once`, by the tier's name; other users have "
        "the limit's own.",
        "from_claim": "A rate that an attribute of the caller states, such as a claim of a token; it comes before "
        "those of tiers and of the schedule.",
        "enforce": "`false` makes a shadow limit: it counts, and never refuses. `10%` refuses that share of callers.",
        "over": "What happens to requests that are over it: they get a 429 (`refuse`), or they pass and the upstream "
        "is told in X-Over-Limit (`tell`).",
        "candidate": "Another rate and burst, or another quota, counted beside the limit's own, and never refused.",
        "exempt": "Callers it does not count.",
        "schedule": "Another rate, burst and tiers at certain times; the first entry that applies counts.",
        "reserve": "The parts of its buckets that are kept for requests of a higher priority.",
        "when_redis_is_down": "What happens while Redis is unavailable: each worker enforces the whole limit from "
        "memory (`whole`) or its share of it (`local`), the limit does not apply (`allow`), or its requests get a 503 "
        "(`refuse`).",
    },
    exclusive=(*EXCLUSIVE, ("rate", "zone"), ("rate", "from_day"), ("at_once", "zone"), ("at_once", "from_day")),
    one_of=FORMS,
)


class Limits:
    """The limits of all rule files.

    Args:
        nodes: The items of all `limits`.
        endpoints: Names of all endpoints.
        exempt: Callers that no limit counts.
        sources: The attributes of each identity source; None when they are not known.

    Attributes:
        known: By name, in the order of the files.
        entries: What was read for each.
    """

    __slots__ = ("_endpoints", "_exempt", "_sources", "entries", "known")

    def __init__(
        self, nodes: Iterable[Node], endpoints: Collection[str], exempt: Exemption, sources: Sources | None
    ) -> None:
        self._endpoints = endpoints
        self._sources = sources
        self._exempt = exempt
        self.known: dict[str, Limit] = {}
        self.entries: dict[str, Entries] = {}
        for node in nodes:
            with suppress(InvalidError):
                self._add(LIMIT(node))

    def _add(self, entries: Entries) -> None:
        values = entries.values
        parts: tuple[Part, ...] | None = values.get("per")
        if parts is not None:
            check_attributes(entries, parts, self._sources)
            _check_tiers(entries, Holder.of(parts))
        self._check_share(entries, parts)
        named = self._named(entries)
        called = values.get("name")
        if called in self.entries:
            place = self.entries[called].at("name").place
            entries.at("name").refuse(f"duplicate limit {called!r}; the first is at {place}")
        elif called is not None:
            self.entries[called] = entries
        size = quota(entries)
        by_tier = quotas_like(values.get("tiers", {}), size)
        candidate = _candidate(entries, size, by_tier)
        scheduled = schedule(entries, size, by_tier)
        if called is None or self.entries[called] is not entries:
            raise InvalidError
        exempt: Exemption = values.get("exempt", Exemption())
        check_named(entries.at("exempt"), exempt.attributes, self._sources)
        self.known[called] = Limit(
            called,
            parts or (),
            size,
            named,
            exempt=unite((exempt, self._exempt)),
            tiers=by_tier,
            candidate=candidate,
            schedule=scheduled,
            **{key: values[key] for key in _AS_READ if key in values},
        )
        check_reserve(entries, self.known[called])
        check_claim(entries, self.known[called], self._sources)

    def _check_share(self, entries: Entries, parts: tuple[Part, ...] | None) -> None:
        values = entries.values
        if 0 < values.get("enforce", 1.0) < 1 and parts in {(), (ENDPOINT,)}:
            entries.at("enforce").refuse(
                "a bucket that all callers share cannot be enforced for some of them; write true or false, or "
                f"per: {'[user, endpoint]' if parts else 'user'}"
            )
        if values.get("over") is Over.TELL:
            if "enforce" in values:
                entries.at("enforce").refuse("a limit with over: tell refuses nobody; remove 'enforce' or 'over'")
            if values.get("when_redis_is_down") is FailurePolicy.REFUSE:
                entries.at("when_redis_is_down").refuse(
                    "a limit with over: tell refuses nobody, also without Redis; write whole, local or allow"
                )

    def _named(self, entries: Entries) -> frozenset[str]:
        """The endpoints that the limit names, which must exist."""
        if "endpoints" not in entries.values:
            return frozenset()

        def known(node: Node) -> str:
            endpoint = text(node)
            if endpoint not in self._endpoints:
                near = node.nearest(endpoint, self._endpoints)
                more = "; without the key 'endpoints', a limit counts all of them" if endpoint in _ALL else ""
                raise node.refuse(f"unknown endpoint {quote(endpoint)}; it is not in the rules{more}", near)
            return endpoint

        with suppress(InvalidError):
            return frozenset(each(replace(text, read=known), least=1)(entries.at("endpoints")))
        return frozenset()

    def warn_of_skipped_callers(self, endpoints: Collection[str]) -> None:
        """Warn of endpoints where callers who lack an attribute are under no limit."""
        for limit in self.known.values():
            warn_of_skipped(self.entries[limit.name], limit, self.known.values(), endpoints)

    def warn_of_unused_reserves(self, endpoints: Collection[Endpoint], priorities: Mapping[str, Priority]) -> None:
        """Warn of reserves that make no difference, or that nobody may use."""
        for limit in self.known.values():
            if limit.reserve:
                counted = [each for each in endpoints if limit.applies_to(each.name)]
                warn_of_unused(self.entries[limit.name], limit, counted, priorities)

    def warn_of_unpayable(self, endpoints: Iterable[Endpoint], priorities: Mapping[str, Priority]) -> None:
        """Warn of limits under which no request to an endpoint can ever pass, because it costs more than a burst.

        Args:
            endpoints: All endpoints.
            priorities: Of tiers.
        """
        costly = sorted((endpoint for endpoint in endpoints if endpoint.cost > 1), key=lambda endpoint: -endpoint.cost)
        for limit in self.known.values():
            if limit.refuses and not limit.quota.at_once:
                for place, size, tier in self._buckets(limit):
                    _warn_of_unpayable(place, size, tier, priorities.get(tier), limit, costly)

    def _buckets(self, limit: Limit) -> Iterator[tuple[Node, Quota, str]]:
        """Where the size of each bucket is written, the size, and the tier; empty for users in none."""
        entries = self.entries[limit.name]
        yield entries.at(next(key for key in ("burst", *FORMS) if key in entries)), limit.quota, ""
        for tier, size in limit.tiers.items():
            yield entries.at("tiers"), size, tier
        for each_time in limit.schedule:
            yield entries.at("schedule"), each_time.quota, ""
            for tier, size in each_time.tiers.items():
                yield entries.at("schedule"), size, tier


def _check_tiers(entries: Entries, holder: Holder | None) -> None:
    if holder is not None and (holder.user or holder.attributes):
        return
    candidate = entries.values.get("candidate")
    needs = "tiers need per: user, or an attribute such as org"
    if "tiers" in entries:
        shared = "that all users share" if holder is None else "that users of one address share"
        entries.at("tiers").refuse(f"a bucket {shared} has one size; {needs}")
    if candidate is not None and "tiers" in candidate:
        entries.at("candidate").refuse(f"a candidate has the same buckets as its limit; {needs}")


def _candidate(entries: Entries, size: Quota, by_tier: Mapping[str, Quota]) -> Candidate | None:
    """What the limit might be instead of `size` and `by_tier`; None if nothing usable is written."""
    written: Entries | None = entries.values.get("candidate")
    if written is None:
        return None
    try:
        candidate = Candidate(quota_like(written, size), quotas_like(written.values.get("tiers", {}), size))
    except InvalidError:
        return None  # it has been noted
    if candidate == Candidate(size, by_tier):
        entries.at("candidate").warn("this candidate equals its limit, so it tells nothing; remove it")
    return candidate


def _warn_of_unpayable(
    place: Node, size: Quota, tier: str, of_tier: Priority | None, limit: Limit, costly: Iterable[Endpoint]
) -> None:
    who, most = f" of tier {tier}" if tier else "", "burst" if size.calendar is None else "quota"
    for endpoint in costly:
        if endpoint.cost <= size.burst and not limit.reserve:
            return
        kept = limit.reserve.kept_from(priority_of(endpoint.priority, of_tier))
        holds = ceiling_of(size, kept) // size.interval
        if endpoint.cost > holds and limit.applies_to(endpoint.name):
            how = f"raise the {most} to {endpoint.cost} or more"
            if endpoint.cost <= size.burst:
                how = f"raise the {most}, keep less than {format_part(kept)}"
            place.warn(
                f"no request{who} to {endpoint.name} can pass under {limit.name}, because it costs {endpoint.cost} and "
                f"a bucket holds at most {holds}{' for its priority' if kept else ''}; {how}, or lower the cost"
            )
