"""`KeyedHash`: what stands for a name in keys, logs and analytics, where the name itself must not be read."""

from hashlib import blake2b
from typing import Final

_MOST: Final = 16_384
_LONGEST: Final = 128
"""Characters of a name that is remembered; with its digest, it takes at most 700 bytes."""


class KeyedHash:
    """BLAKE2b (RFC 7693) of names of one kind, with a key.

    The digests of the last 16,384 to 32,768 names are remembered, since who sends a request will soon send another.

    Args:
        kind: The same name of another kind has another digest.
        key: Up to 64 bytes.

    Raises:
        ValueError: the key is too long.
    """

    __slots__ = ("_before", "_empty", "_recent")

    def __init__(self, kind: str, key: bytes) -> None:
        if len(key) > blake2b.MAX_KEY_SIZE:
            raise ValueError(f"a hash key has at most {blake2b.MAX_KEY_SIZE} bytes, this one has {len(key)}")
        self._empty = blake2b(digest_size=16, key=key, person=kind.encode())
        self._recent: dict[str, bytes] = {}
        self._before: dict[str, bytes] = {}

    def digest(self, name: str) -> bytes:
        """32 hex digits."""
        known = self._recent.get(name)
        if known is not None:
            return known
        digest = self._before.get(name) or self._digest(name)
        if len(name) <= _LONGEST:
            if len(self._recent) >= _MOST:
                self._before, self._recent = self._recent, {}
            self._recent[name] = digest
        return digest

    def _digest(self, name: str) -> bytes:
        digest = self._empty.copy()
        digest.update(name.encode(errors="surrogatepass"))  # encodes any str, and no two to the same bytes
        return digest.hexdigest().encode()
