"""`NameMemo`: remembers what was found out about the names of headers."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MAX_NAMES: Final = 1024
_LONGEST: Final = 64


class NameMemo(Generic[T]):
    """Remembers something about each name, by the name as it was sent: peers send few names, and always the same.

    When there are 1024 it starts anew, and long ones are not remembered, so that a peer that invents names fills no
    memory. (`lru_cache` takes three times as long for bytes: it makes a tuple of each, and hashes that.)

    Args:
        find: Finds it out.
    """

    __slots__ = ("_find", "_known")

    def __init__(self, find: Callable[[bytes], T]) -> None:
        self._find = find
        self._known: dict[bytes, T] = {}

    def get(self, name: bytes) -> T:
        """What is known of a name, found out if need be."""
        found = self._known.get(name)
        if found is None:
            found = self._find(name)
            if len(name) <= _LONGEST:
                if len(self._known) >= _MAX_NAMES:
                    self._known.clear()
                self._known[name] = found
        return found
