"""`TokenPolicy`: which JSON Web Tokens (RFC 7519) are accepted."""

from dataclasses import dataclass, field
from typing import Literal

ScopeName = Literal["check", "limits:read", "limits:write", "reload", "audit:read", "bypass"]

Algorithm = Literal[
    "HS256", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip
"""How tokens are signed (RFC 7518 section 3.1, RFC 8037 section 3.1)."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that verifies tokens. The key fixes the algorithm; what a token's header claims is ignored.

    Attributes:
        algorithm: The only algorithm this key is used with.
        key: For HS256 the shared secret, at least 32 bytes (RFC 7518 section 3.2); otherwise the public key in PEM.
        kid: The key ID in a token's header that selects this key; optional when there is only one key.
        scopes: All that a token signed with this key can permit; without it, everything. Of admin keys only.
        longest: The longest time accepted between `iat` and `exp` of a token signed with this key, instead of
            `max_lifetime`. Of admin keys only.
    """

    algorithm: Algorithm
    key: bytes = field(repr=False)
    kid: str | None = None
    scopes: tuple[ScopeName, ...] = ()
    longest: float | None = None


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """Which tokens are accepted.

    Attributes:
        keys: The keys that a token may be signed with.
        audience: What a token's `aud` must contain, one of several if it is a list; without it, only tokens without
            `aud` are accepted.
        issuer: What a token's `iss` must be; without it, any issuer is accepted.
    """

    keys: tuple[TokenKey, ...]
    audience: tuple[str, ...] = ()
    issuer: str | None = None
