"""`TokenPolicy`: which JSON Web Tokens (RFC 7519) are accepted."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ScopeName = Literal["check", "check:caller", "limits:read", "limits:write", "reload", "audit:read", "bypass"]

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
        file: The file that holds the key, which each reload reads; None if it is somewhere else.
    """

    algorithm: Algorithm
    key: bytes = field(repr=False)
    kid: str | None = None
    scopes: tuple[ScopeName, ...] = ()
    longest: float | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Jwks:
    """The keys of an issuer, as a JSON Web Key Set (RFC 7517 section 5): from a URL or from a file.

    Attributes:
        url: The https URL at which the issuer publishes its keys. They are fetched in the background; the last good
            ones are kept in `control.state`. Redirects are not followed.
        file: The file that holds them, instead of `url`.
        algorithms: The algorithms that keys are used with. A key that does not name one (`alg`) is used with the first
            that fits it.
        ca: Certificates to trust when fetching, in PEM, instead of the system's.
        refresh: How often the keys are fetched. A token with an unknown `kid` has them fetched as well, at most once
            in 30 seconds.
        timeout: How long a fetch may take.
        at_most_stale: How long keys are used after they were last fetched. When it is over, no token is accepted until
            they can be fetched again.
        grace: How long a key is still used after the issuer has removed it.
    """

    url: str | None = None
    file: Path | None = None
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    ca: Path | None = None
    refresh: float = 300.0
    timeout: float = 5.0
    at_most_stale: float = 86_400.0
    grace: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """Which tokens are accepted.

    Attributes:
        keys: The keys that a token may be signed with.
        audience: What a token's `aud` must contain, one of several if it is a list; without it, only tokens without
            `aud` are accepted.
        issuer: What a token's `iss` must be; without it, any issuer is accepted.
        jwks: The keys of an issuer that publishes them, instead of `keys`.
    """

    keys: tuple[TokenKey, ...] = ()
    audience: tuple[str, ...] = ()
    issuer: str | None = None
    jwks: Jwks | None = None
