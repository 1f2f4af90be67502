"""`Verifier`: tells a good token from any other (RFC 7519, RFC 8725)."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

import jwt

from gateway.settings.tokens import TokenKey, TokenPolicy

LEEWAY = 30.0
"""Seconds by which the clocks of issuer and gateway may differ."""

_LONGEST = 8192
_REMEMBERED = 4096


class Verifier:
    """Verifies tokens, and remembers good ones until they expire: callers send the same token again and again.

    The algorithm is the key's; what the token says of it is not asked (RFC 8725 section 3.1). A token has to expire.

    Args:
        policy: Which tokens are good.
        clock: Seconds since 1970.
    """

    __slots__ = ("_clock", "_good", "_keys", "_only", "_policy")

    def __init__(self, policy: TokenPolicy, clock: Callable[[], float] = time.time) -> None:
        self._policy = policy
        self._clock = clock
        self._keys = {key.kid: key for key in policy.keys}
        self._only = policy.keys[0] if len(policy.keys) == 1 else None
        self._good: OrderedDict[str, Mapping[str, object]] = OrderedDict()

    def __call__(self, token: str) -> Mapping[str, object] | None:
        """The claims of a good token; None for any other."""
        claims = self._good.get(token)
        if claims is None:
            claims = self._verify(token)
            if claims is None:
                return None
            self._good[token] = claims
            if len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)
        elif _expiry(claims) + LEEWAY <= self._clock():
            del self._good[token]
            return None
        return claims

    def _verify(self, token: str) -> dict[str, Any] | None:
        if len(token) > _LONGEST:
            return None
        try:
            key = self._key(token)
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._policy.audience,
                issuer=self._policy.issuer,
                leeway=LEEWAY,
                options={"require": ["exp"], "verify_aud": self._policy.audience is not None},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError):
            return None
        return claims

    def _key(self, token: str) -> TokenKey | None:
        kid = jwt.get_unverified_header(token).get("kid")
        if kid is None:
            return self._only
        return self._keys.get(kid) if isinstance(kid, str) else None


def _expiry(claims: Mapping[str, object]) -> float:
    expiry = claims["exp"]
    try:
        return float(expiry) if isinstance(expiry, int | float | str) else 0.0
    except OverflowError:
        return inf  # a whole number of 400 digits is one, too
