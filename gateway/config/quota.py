"""Reads rates, bursts and tiers."""

import re
from contextlib import suppress

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.number import whole
from gateway.config.reader import Value, reads, string
from gateway.config.scalar import text
from gateway.config.section import Section
from gateway.limits.bucket import Quota
from gateway.limits.limit import Candidate
from gateway.limits.rate import PERIODS, Rate

_LARGEST_BURST = 1_000_000_000_000
_NEARLY_A_RATE = re.compile(r"\s*([0-9]+)\s*(?:/|per)\s*([0-9]*)\s*([A-Za-z]+)\s*", re.ASCII)
_MAX_LENGTH = 64


@reads("rate", string(rf"^\s*0*[1-9][0-9]*\s*/\s*[0-9]{{0,9}}\s*({'|'.join(PERIODS)})\s*$"))
def rate(node: Node) -> Rate:
    """Tokens a period, see `Rate.parse`."""
    value = text(node)
    try:
        return Rate.parse(value)
    except ValueError as error:
        form = _NEARLY_A_RATE.fullmatch(value)
        unit = node.source.findings.nearest(form[3].lower(), PERIODS) if form else ""
        near = f"{form[1]}/{form[2]}{unit}" if form and unit else ""
        reason = (
            str(error) if len(value) <= _MAX_LENGTH else "this is not a rate; write tokens/period, as in 100/minute"
        )
        raise node.refuse(reason, "" if near == value else near) from None


burst = whole(1, _LARGEST_BURST)


def quota(entries: Entries) -> Quota:
    """Rate and burst; without a burst, as many as the rate's tokens a period."""
    speed: Rate | None = entries.values.get("rate")
    if speed is None or ("burst" in entries and "burst" not in entries.values):
        raise InvalidError
    try:
        return Quota(speed, entries.values.get("burst", speed.tokens))
    except ValueError as error:
        raise entries.at("burst" if "burst" in entries else "rate").refuse(str(error)) from None


QUOTA_MEANINGS = {
    "rate": "Tokens a period: `100/minute`, `50/s`, `10/15s`.",
    "burst": "Tokens that a full bucket holds; without it, as many as the rate's.",
}


def _tier_of(path: str) -> Section[Quota]:
    return Section(path, {"rate": rate, "burst": burst}, (Quota,), quota, required=("rate",), meanings=QUOTA_MEANINGS)


def _tiers_of(tier_section: Section[Quota]) -> Value[dict[str, Quota]]:
    """Quotas by the tier's name."""

    def read(node: Node) -> dict[str, Quota]:
        found = {}
        for key_node, child in node.entries().values():
            with suppress(InvalidError):
                tier = text(key_node)
                if "*" in tier:
                    key_node.warn(f"'*' is no wildcard here: this is for the tier {quote(tier)} only")
                found[tier] = tier_section(child)
        return found

    return Value(read, "sections by tier", {"type": "object", "additionalProperties": tier_section})


tiers = _tiers_of(_tier_of("limits.tiers.NAME"))
CANDIDATE = Section(
    "limits.candidate",
    {"rate": rate, "burst": burst, "tiers": _tiers_of(_tier_of("limits.candidate.tiers.NAME"))},
    (Candidate, Quota),
    lambda entries: Candidate(quota(entries), entries.values.get("tiers", {})),
    required=("rate",),
    about="Another rate and burst, counted beside a limit's own.",
    meanings={**QUOTA_MEANINGS, "tiers": "Rate and burst of users on a tier, by the tier's name."},
)
