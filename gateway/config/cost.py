"""Reads `cost` of an endpoint: a number of tokens, or how the cost is found when a request has ended."""

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.number import size, whole
from gateway.config.reader import Value, reads
from gateway.config.scalar import each, header, text
from gateway.config.section import Section
from gateway.limits.measured_cost import MeasuredCost

_HIGHEST_COST = 1_000_000
_UNSENT = "unsent"
_MEASURES = ("header", "per", "charge_on")
_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}

_status = whole(100, 599)
_tokens = whole(1, _HIGHEST_COST)


@reads("status or `unsent`", {"anyOf": [_status, {"const": _UNSENT}]})
def _status_or_unsent(node: Node) -> int | str:
    if node.is_scalar and text(node) == _UNSENT:
        return _UNSENT
    return _status(node)


@reads(header.words, header.schema)
def _header(node: Node) -> bytes:
    name = header(node).lower()
    if name in _HOP_BY_HOP:
        raise node.refuse(f"{quote(name)} is about the connection; let the upstream state the cost in another header")
    return name.encode()


def _measured(entries: Entries) -> MeasuredCost:
    one = entries.one_of(*_MEASURES)
    if one is None and any(key in entries for key in _MEASURES):
        raise InvalidError
    if one in {"header", "per"} and "at_most" not in entries:
        entries.node.refuse("the key 'at_most' is missing: the most that a request may cost, whatever is measured")
        raise InvalidError
    if one not in {"header", "per"} and "at_most" in entries:
        entries.at("at_most").refuse("without 'header' or 'per', no request costs more than the estimate; remove it")
    if one is None and "give_back_on" not in entries:
        entries.node.refuse("nothing says how the cost is found; add 'header', 'per', 'charge_on' or 'give_back_on'")
    estimate, most = entries.get("estimate", 1), entries.values.get("at_most")
    if estimate is not None and most is not None and most < estimate:
        entries.at("at_most").refuse(f"is less than the estimate, {estimate}; write that or more")
    back = entries.values.pop("give_back_on", (_UNSENT,))
    clash = sorted(set(back) & set(entries.values.get("charge_on", ())))
    if clash:
        entries.at("give_back_on").refuse(f"{clash[0]} is in 'charge_on', too; write it in one of the two")
    return entries.build(
        MeasuredCost,
        charge_on=frozenset(entries.values.get("charge_on", ())),
        give_back_on=frozenset(back) - {_UNSENT},
        gives_back_unsent=_UNSENT in back,
    )


COST = Section(
    "endpoints.cost",
    {
        "estimate": _tokens,
        "at_most": _tokens,
        "header": _header,
        "per": size,
        "charge_on": each(_status, least=1),
        "give_back_on": each(_status_or_unsent),
    },
    (MeasuredCost,),
    _measured,
    about="How the cost of a request is found when it has ended; until then the estimate is charged.",
    meanings={
        "estimate": "Tokens that are charged at first.",
        "at_most": "Tokens that a request costs at most, whatever is measured.",
        "header": "The header of the upstream's response that states the tokens: one value, digits only. It is removed "
        "from the response.",
        "per": "Bytes of the response that cost a token; at least one token is charged.",
        "charge_on": "Statuses of responses that cost the estimate; all others cost nothing.",
        "give_back_on": "Statuses of responses for which a request costs nothing; `unsent` is one that never reached "
        "an upstream.",
    },
    exclusive=(("header", "per"), ("header", "charge_on"), ("per", "charge_on")),
)

_fixed = whole(0, _HIGHEST_COST)


def _read(node: Node) -> int | MeasuredCost:
    return _fixed(node) if node.is_scalar else COST(node)


cost = Value(_read, f"{_fixed.words}, or section", {"anyOf": [_fixed, COST]})
