"""`Question`: what one descriptor of a request to the rate limit service asks about.

A descriptor is a list of keys with values that the proxy's operator has chosen. The setting `descriptors` says what the
value of each key is; keys that it does not name are ignored.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gateway.limits.address import Address, parse_address, parse_clients
from gateway.limits.caller import Caller
from gateway.limits.charge import Demand
from gateway.limits.compiled_limit import digest_in
from gateway.limits.condition import GivenFields
from gateway.limits.endpoint import DEFAULT, METHODS, Endpoint
from gateway.limits.identity import Identity
from gateway.limits.in_flight import without_slots
from gateway.limits.rules import Rules
from gateway.limits.unmatched import Unmatched
from gateway.proxy.bad_request import BadRequest
from gateway.proxy.target import parse_target
from gateway.settings.door import DESCRIPTOR_PARTS


class Question(NamedTuple):
    """What a descriptor asks about.

    Attributes:
        endpoint: The endpoint whose limits apply.
        caller: Whom it names; if it names nobody, the caller of whom nothing is known.
        names_caller: Whether it names anybody. If not, limits that have a bucket for each caller do not apply.
    """

    endpoint: Endpoint
    caller: Caller
    names_caller: bool

    def demands(self, rules: Rules) -> list[Demand]:
        """The buckets to charge."""
        demands = without_slots(rules.demands(self.endpoint, self.caller))
        return demands if self.names_caller else [each for each in demands if digest_in(each.key) is None]


def read_question(
    entries: Iterable[tuple[str, str]],
    parts: Mapping[str, str],
    rules: Rules,
    identity: Identity,
    nobody: Caller,
) -> Question | BadRequest:
    """What a descriptor asks about, or why that cannot be read in one way.

    The endpoint is the one that the last entry with the name of an endpoint names; else the one that a path, with a
    method and a host, belongs to; else the default one.

    Args:
        entries: Keys and values, in order.
        parts: What the value of each key is.
        rules: Those in force.
        identity: Makes callers.
        nobody: The caller of whom nothing is known.
    """
    values: dict[str, str] = {}
    for key, value in entries:
        part = parts.get(key)
        if part is not None and (part != "endpoint" or value in rules.endpoints):
            values[part] = value
    endpoint = _endpoint(values, rules)
    if not isinstance(endpoint, Endpoint):
        return endpoint
    address = _address(values["address"]) if "address" in values else None
    user = values.get("user")
    attributes = {name: value for name, value in values.items() if name not in DESCRIPTOR_PARTS}
    if user:
        known = attributes or None
        caller = identity.user(user, values.get("tier"), address=address, attributes=known, holders=rules.holders)
    elif attributes:
        caller = identity.with_attributes(attributes, values.get("tier"), address=address, holders=rules.holders)
    elif address is not None:
        caller = identity.client(address, rules.holders)
    else:
        return Question(endpoint, nobody, names_caller=False)
    return Question(endpoint, caller, names_caller=True)


def _endpoint(values: Mapping[str, str], rules: Rules) -> Endpoint | BadRequest:
    if "endpoint" in values:
        return rules.endpoints[values["endpoint"]]
    path = values.get("path")
    if not path:
        return rules.endpoints[DEFAULT]
    method, host = values.get("method", "GET"), values.get("host")
    if method not in METHODS:
        return BadRequest.METHOD
    target = parse_target(path, [host] if host else [])
    if isinstance(target, BadRequest):
        return target
    found = rules.match(method, target.host, target.path, GivenFields(query=target.query))
    return BadRequest.of(found) if isinstance(found, Unmatched) else found


def _address(text: str) -> Address | None:
    """An address, which may have a mask or a port; None if there is none."""
    address = parse_address(text)
    if address is None and "/" in text:
        try:
            return parse_clients(text).network_address
        except ValueError:
            return None
    return address
