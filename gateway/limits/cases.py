"""`Cases`: the endpoints with conditions that share a host and a template.

Endpoints whose conditions read the same headers and keys are found by the values, with one look-up for all of them.
"""

from collections.abc import Iterable
from itertools import product

from gateway.limits.condition import Key, RequestFields, read
from gateway.limits.endpoint import Endpoint
from gateway.limits.unmatched import Unmatched

_Keys = tuple[Key, ...]
"""What is read, sorted."""

_Index = dict[tuple[str | None, ...], Endpoint]
"""Endpoints by values, one for each of some keys."""


_NO_GROUPS: "dict[_Keys, _Group]" = {}


class Cases:
    """Endpoints by method, by the keys that their conditions read, and by the values."""

    __slots__ = ("_by_method",)

    def __init__(self) -> None:
        self._by_method: dict[str, dict[_Keys, _Group]] = {}

    def add(self, endpoint: Endpoint, methods: Iterable[str]) -> list[Endpoint]:
        """Add an endpoint for these methods.

        Returns:
            Those that were there before of which each matches some request that this one matches as well.
        """
        conditions = {condition.key: condition.values for condition in endpoint.conditions}
        keys = tuple(sorted(conditions))
        rivals = []
        for method in methods:
            groups = self._by_method.setdefault(method, {})
            for group in groups.values():
                # Both conditions can hold if there is a value for each key that both read.
                shared = tuple(key for key in keys if key in group.keys)
                index = group.index(shared)
                rivals += [index[values] for values in product(*map(conditions.__getitem__, shared)) if values in index]
            own = groups.setdefault(keys, _Group(keys))
            for values in product(*map(conditions.__getitem__, keys)):
                own.put(values, endpoint)
        return rivals

    def match(self, methods: Iterable[str], fields: RequestFields) -> Endpoint | Unmatched | None:
        """The endpoint whose conditions hold.

        Args:
            methods: In which a request's method is listed, the best first.
            fields: Of the request. All that a condition for one of these methods reads must be readable.
        """
        groups = [group for method in methods for group in self._by_method.get(method, _NO_GROUPS).values()]
        found: dict[Key, str | None] = {}
        for group in groups:
            for key in group.keys:
                if key not in found:
                    value = read(fields, key)
                    if isinstance(value, Unmatched):
                        return value
                    found[key] = value
        for group in groups:
            endpoint = group.endpoints.get(tuple(map(found.__getitem__, group.keys)))
            if endpoint is not None:
                return endpoint
        return None


class _Group:
    """Endpoints whose conditions read the same keys.

    Attributes:
        keys: What they read.
        endpoints: By the values of all keys.
    """

    __slots__ = ("_indexes", "endpoints", "keys")

    def __init__(self, keys: _Keys) -> None:
        self.keys = keys
        self.endpoints: _Index = {}
        self._indexes: dict[_Keys, _Index] = {keys: self.endpoints}

    def put(self, values: tuple[str, ...], endpoint: Endpoint) -> None:
        """Add an endpoint under these values; one that is there before stays."""
        for keys, index in self._indexes.items():
            index.setdefault(self._select(values, keys), endpoint)

    def index(self, keys: _Keys) -> _Index:
        """The first endpoint for each combination of values of some of the keys."""
        found = self._indexes.get(keys)
        if found is None:
            found = self._indexes[keys] = {}
            for values, endpoint in self.endpoints.items():
                found.setdefault(self._select(values, keys), endpoint)
        return found

    def _select(self, values: tuple[str | None, ...], keys: _Keys) -> tuple[str | None, ...]:
        return tuple(value for key, value in zip(self.keys, values, strict=True) if key in keys)
