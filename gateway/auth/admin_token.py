"""`AdminVerifier`: verifies the tokens with which administrators and services use the control plane.

It is stricter than what identifies a caller. Beyond what `signed_token` asks of every token:

* ``exp``, ``iat``, ``aud``, ``iss``, ``sub`` and ``jti`` are there. ``aud`` and ``iss`` are strings, and exactly ours
  (of several audiences, one of them): a token for several services could be used by each of them, so it is refused
  (RFC 8725 section 3.9).
* From ``iat`` to ``exp`` is no longer than the key allows, or else the policy.
* It permits what its ``scope`` names, as far as its key may permit that.
* ``sub`` and ``jti`` are printable, because the audit log names them.
* ``scope``, if there, is one string of words separated by spaces (RFC 8693 section 4.2).
"""

import time
from collections.abc import Callable

from gateway.auth.grant import Grant
from gateway.auth.key_ring import KeyRing
from gateway.auth.signed_token import Claims, SignedTokens, TokenRefusedError, numeric_date
from gateway.settings.control import AdminPolicy
from gateway.settings.token_key import TokenKey

_MAX_LENGTH = 4096
_CAPACITY = 1024
_MAX_NAME = 256
_REQUIRED = ("exp", "iat", "aud", "iss", "sub", "jti")


class AdminVerifier:
    """Verifies admin tokens.

    Args:
        policy: Which tokens are good.
        ring: Its keys; None for those of the policy.
        clock: Seconds since 1970.
    """

    __slots__ = ("_policy", "_tokens")

    def __init__(
        self, policy: AdminPolicy, ring: KeyRing | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._policy = policy
        ring = ring or KeyRing(policy.tokens.keys)
        self._tokens = SignedTokens(ring, self._accept, clock, max_length=_MAX_LENGTH, capacity=_CAPACITY)

    def verify(self, token: str) -> Grant:
        """What a good token permits.

        Raises:
            TokenRefusedError: it is not good.
        """
        return self._tokens.verify(token)

    def _accept(self, claims: Claims, key: TokenKey) -> Grant:
        tokens = self._policy.tokens
        missing = [name for name in _REQUIRED if name not in claims]
        if missing:
            raise TokenRefusedError(f"{missing[0]} is missing")
        if claims["aud"] not in tokens.audience:
            raise TokenRefusedError("aud is for another service", "wrong_audience")
        if claims["iss"] != tokens.issuer:
            raise TokenRefusedError("iss is another issuer", "wrong_issuer")
        expires_at = numeric_date(claims, "exp")
        longest, setting = self._policy.max_lifetime, "control.admin.max_lifetime"
        if key.longest is not None:
            longest, setting = key.longest, "the key's longest"
        if not 0 < expires_at - numeric_date(claims, "iat") <= longest:
            raise TokenRefusedError(f"the token's lifetime is not between 0 and {setting}", "lifetime")
        scope = claims.get("scope", "")
        if not isinstance(scope, str):
            raise TokenRefusedError("scope is not a string")
        scopes = frozenset(scope.split(" "))
        if key.scopes:
            scopes &= frozenset[str](key.scopes)
        return Grant(_name(claims, "sub"), _name(claims, "jti"), scopes, expires_at)


def _name(claims: Claims, name: str) -> str:
    value = claims[name]
    if not isinstance(value, str):
        raise TokenRefusedError(f"{name} is not a string")
    if not value.strip() or len(value) > _MAX_NAME or not value.isprintable():
        raise TokenRefusedError(f"{name} is not a printable name of at most {_MAX_NAME} characters")
    return value
