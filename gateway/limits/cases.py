"""`Cases`: the endpoints with conditions that share a host and a template.

Endpoints whose conditions read the same headers and keys are found by the values, with one look-up for all of them.
"""

from collections.abc import Iterable
from itertools import product

from gateway.limits.condition import Key, RequestFields, read
from gateway.limits.endpoint import Endpoint
from gateway.limits.unmatched import Unmatched

_Group = dict[tuple[str | None, ...], Endpoint]
"""Endpoints that read the same keys, by the values."""


class Cases:
    """Endpoints by method, by the keys that their conditions read, and by the values."""

    __slots__ = ("_by_method",)

    def __init__(self) -> None:
        self._by_method: dict[str, dict[tuple[Key, ...], _Group]] = {}

    def add(self, endpoint: Endpoint, methods: Iterable[str]) -> list[Endpoint]:
        """Add an endpoint for these methods.

        Returns:
            Those that were there before, of which each matches some request that this one matches as well.
        """
        conditions = {condition.key: condition.values for condition in endpoint.conditions}
        keys = tuple(sorted(conditions))
        rivals = []
        for method in methods:
            groups = self._by_method.setdefault(method, {})
            own = groups.setdefault(keys, {})
            taken = (own.setdefault(values, endpoint) for values in product(*(sorted(conditions[key]) for key in keys)))
            rivals += [rival for rival in taken if rival is not endpoint]
            for others, group in groups.items():
                if others != keys:
                    rivals += [rival for rival in dict.fromkeys(group.values()) if _may_both_hold(endpoint, rival)]
        return rivals

    def match(self, methods: Iterable[str], fields: RequestFields) -> Endpoint | Unmatched | None:
        """The endpoint whose conditions hold.

        Args:
            methods: In which a request's method is listed, the best first.
            fields: Of the request. All that a condition for one of these methods reads must be readable.
        """
        groups = [group for method in methods if method in self._by_method for group in self._by_method[method].items()]
        values: dict[Key, str | None] = {}
        for keys, _ in groups:
            for key in keys:
                if key not in values:
                    value = read(fields, key)
                    if isinstance(value, Unmatched):
                        return value
                    values[key] = value
        for keys, group in groups:
            found = group.get(tuple(values[key] for key in keys))
            if found is not None:
                return found
        return None


def _may_both_hold(one: Endpoint, other: Endpoint) -> bool:
    """Whether some request meets the conditions of both: what both of them read, has a value that both take."""
    others = {condition.key: condition.values for condition in other.conditions}
    return all(condition.key not in others or condition.values & others[condition.key] for condition in one.conditions)
