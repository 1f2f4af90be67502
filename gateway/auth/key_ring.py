"""`KeyRing`: the keys that verify the tokens of one policy; `KeyRings`: those of all policies of a worker."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jwt

from gateway.settings.token_key import Jwks, TokenKey, TokenPolicy


class PreparedKey(NamedTuple):
    """A key, prepared once."""

    name: str
    setting: TokenKey
    algorithm: Any
    prepared: Any


class KeyRing:
    """The keys in force. They may be replaced while tokens are verified.

    Args:
        keys: The first ones.

    Attributes:
        keys: The keys in force. Another tuple is another set of keys.
        is_published: Whether an issuer publishes them; then there may be none at present.
        missed: Called when a token names a key that is not there.
    """

    __slots__ = ("_by_kid", "_only_key", "is_published", "keys", "missed")

    def __init__(self, keys: Sequence[TokenKey] = (), *, is_published: bool = False) -> None:
        self.is_published = is_published
        self.missed: Callable[[], object] = _ignore
        self.use(keys)

    def use(self, keys: Sequence[TokenKey]) -> None:
        """Replace the keys in force."""
        self.keys = tuple(keys)
        self._by_kid = {key.kid: _prepare(key) for key in keys}
        self._only_key = next(iter(self._by_kid.values())) if len(keys) == 1 else None

    def find(self, kid: str | None) -> PreparedKey | None:
        """The key that a token names; without a name, the only key there is."""
        key = self._only_key if kid is None else self._by_kid.get(kid)
        if key is None and kid is not None:
            self.missed()
        return key


class KeyRings:
    """The key rings of a worker. Policies with the same `jwks` share one."""

    __slots__ = ("_rings",)

    def __init__(self) -> None:
        self._rings: dict[TokenPolicy | Jwks, KeyRing] = {}

    def of(self, policy: TokenPolicy) -> KeyRing:
        """That of a policy."""
        jwks = policy.jwks
        if jwks is not None and jwks.url is not None:
            return self._rings.setdefault(jwks, KeyRing(is_published=True))
        return self._rings.setdefault(policy, KeyRing(policy.keys))

    def published(self) -> list[tuple[Jwks, KeyRing]]:
        """The key rings of issuers that publish their keys."""
        return [(jwks, ring) for jwks, ring in self._rings.items() if isinstance(jwks, Jwks)]


def _prepare(key: TokenKey) -> PreparedKey:
    algorithm = jwt.get_algorithm_by_name(key.algorithm)
    return PreparedKey(key.algorithm, key, algorithm, algorithm.prepare_key(key.key))


def _ignore() -> None:
    pass
