"""`KeyRing`: the keys that verify the tokens of one policy; `KeyRings`: all keys of a worker, API keys too."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jwt

from gateway.config.keys import Keys
from gateway.limits.identity_source import Claim
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


class ApiKeyRing:
    """The API keys in force, of which only hashes are known. They may be replaced at any time.

    Args:
        holders: The holders of the first ones, by SHA-256 in hexadecimal.
    """

    __slots__ = ("_holders",)

    def __init__(self, holders: Mapping[str, Claim]) -> None:
        self._holders = holders

    def use(self, holders: Mapping[str, Claim]) -> None:
        """Replace the keys in force."""
        self._holders = holders

    def get(self, digest: str, /) -> Claim | None:
        """The holder of the key with a SHA-256."""
        return self._holders.get(digest)


class KeyRings:
    """The keys of a worker. Those in files are replaced by reloads, those of issuers by whoever fetches them.

    Args:
        keys: What the files held at first.
    """

    __slots__ = ("_api_keys", "_keys", "_published", "_tokens")

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._tokens: dict[str, KeyRing] = {}
        self._api_keys: dict[str, ApiKeyRing] = {}
        self._published: dict[Jwks, KeyRing] = {}

    def of(self, place: str, policy: TokenPolicy) -> KeyRing:
        """The keys of tokens.

        Args:
            place: Of the policy, in the settings.
            policy: Which tokens are accepted. Those with the same `jwks` share a ring.
        """
        jwks = policy.jwks
        if jwks is not None and jwks.url is not None:
            return self._published.setdefault(jwks, KeyRing(is_published=True))
        return self._tokens.setdefault(place, KeyRing(self._keys.tokens.get(place, policy.keys)))

    def api_keys(self, place: str) -> ApiKeyRing:
        """The API keys of a source, by its place in the settings."""
        return self._api_keys.setdefault(place, ApiKeyRing(self._keys.holders[place]))

    def use(self, keys: Keys) -> None:
        """Replace the keys in files. Tokens are verified anew only where keys have changed."""
        self._keys = keys
        for place, ring in self._tokens.items():
            if ring.keys != keys.tokens[place]:
                ring.use(keys.tokens[place])
        for place, known in self._api_keys.items():
            known.use(keys.holders[place])

    def published(self) -> list[tuple[Jwks, KeyRing]]:
        """The key rings of issuers that publish their keys."""
        return list(self._published.items())


def _prepare(key: TokenKey) -> PreparedKey:
    algorithm = jwt.get_algorithm_by_name(key.algorithm)
    return PreparedKey(key.algorithm, key, algorithm, algorithm.prepare_key(key.key))


def _ignore() -> None:
    pass
