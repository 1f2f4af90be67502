"""Reads `from_claim` of a limit: the rate that an attribute of the caller states."""

from gateway.config.attribute import attribute
from gateway.config.entries import Entries
from gateway.config.node import quote
from gateway.config.per import Sources
from gateway.config.quota import rate
from gateway.config.section import Section
from gateway.limits.claimed_rate import ClaimedRate
from gateway.limits.holder import Holder
from gateway.limits.limit import Limit

FROM_CLAIM = Section(
    "limits.from_claim",
    {"rate": attribute, "at_most": rate},
    (),
    lambda entries: (
        ClaimedRate(entries.values["rate"], entries.values["at_most"])
        if {"rate", "at_most"} <= entries.values.keys()
        else None
    ),
    required=("rate", "at_most"),
    about="A rate that a verified attribute of the caller states.",
    meanings={
        "rate": "The name of the attribute that has the number of tokens; its period is that of `at_most`.",
        "at_most": "Nobody has a higher rate, whatever the attribute says.",
    },
)


def check_claim(entries: Entries, limit: Limit, sources: Sources | None) -> None:
    """Note a rate from a claim that the limit cannot have.

    Args:
        entries: Of the limit.
        limit: The limit.
        sources: The attributes of each identity source; None when they are not known.
    """
    claimed = limit.from_claim
    if claimed is None:
        return
    node, own = entries.at("from_claim"), limit.quota
    if own.unit is not None:
        node.refuse("is for limits with a rate; the tokens of a quota, or requests at once, come from no claim")
    elif claimed.at_most.interval > own.interval:
        node.refuse(f"at_most is below the limit's own rate, {own.rate}; write that or more")
    if not _is_of_callers(limit.holder):
        node.refuse("a bucket that others share has one rate; a claim's needs per: user, or an attribute such as org")
    if sources is not None and not any(claimed.attribute in source for source in sources):
        known = sorted({name for source in sources for name in source})
        there = f"the attributes there are {', '.join(known)}" if known else "there are no attributes"
        near = node.nearest(claimed.attribute, known)
        node.refuse(f"no source in 'identity' has the attribute {quote(claimed.attribute)}; {there}", near)


def _is_of_callers(holder: Holder | None) -> bool:
    return holder is not None and (holder.user or bool(holder.attributes))
