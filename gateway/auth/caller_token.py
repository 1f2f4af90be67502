"""`Verifier`: verifies the tokens that identify callers (RFC 7519)."""

import time
from collections.abc import Callable, Mapping

from gateway.auth.key_ring import KeyRing
from gateway.auth.signed_token import Claims, SignedTokens, TokenRefusedError
from gateway.limits.rejection import Rejection
from gateway.settings.token_key import TokenKey, TokenPolicy

_CAPACITY = 4096


class Verifier:
    """Verifies callers' tokens; what all tokens have in common is in `signed_token`.

    ``iss`` is checked if the policy names one. ``aud`` has to contain one of ours; if the policy names none, a token
    that is for somebody in particular is not for us. It may be a list, because tokens of callers may be issued for
    several services (RFC 7519 section 4.1.3). Which claims say who the caller is, and what they may hold, is for
    `BearerToken` to say; no other claim is looked at.

    Args:
        policy: Which tokens are good.
        max_length: Characters of a token at most: as many as a header may have.
        ring: Its keys; None for those of the policy.
        clock: Seconds since 1970.
    """

    __slots__ = ("_policy", "_tokens")

    def __init__(
        self,
        policy: TokenPolicy,
        max_length: int,
        ring: KeyRing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._policy = policy
        ring = ring or KeyRing(policy.keys)
        self._tokens = SignedTokens(ring, self._accept, clock, max_length=max_length, capacity=_CAPACITY)

    def __call__(self, token: str) -> Mapping[str, object] | Rejection:
        """The claims of a good token; why any other is not good."""
        try:
            return self._tokens.verify(token)
        except TokenRefusedError as error:
            return Rejection("jwt", error.reason, str(error))

    def _accept(self, claims: Claims, _key: TokenKey) -> Mapping[str, object]:
        policy, audience = self._policy, claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if not any(ours in audiences for ours in policy.audience) if policy.audience else audience is not None:
            raise TokenRefusedError("aud is for another service", "wrong_audience")
        if policy.issuer is not None and claims.get("iss") != policy.issuer:
            raise TokenRefusedError("iss is another issuer", "wrong_issuer")
        return claims
