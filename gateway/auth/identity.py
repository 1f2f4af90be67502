"""Makes the identity sources that the settings describe, and names the headers that they read."""

from collections.abc import Callable

from gateway.auth.caller_token import Verifier
from gateway.auth.key_ring import KeyRings
from gateway.limits.identity import Identity
from gateway.limits.identity_source import ApiKey, BearerToken, Rejection, TrustedHeader
from gateway.settings.identity import IdentityPolicy, Jwt


def build_identity(
    policy: IdentityPolicy, max_header: int, rings: KeyRings, report: Callable[[Rejection], object]
) -> Identity:
    """Identifies callers, verifying their tokens.

    Args:
        policy: How.
        max_header: Size of one header, and so of a token.
        rings: The keys of tokens.
        report: Is told what was not accepted.
    """
    sources = [
        _bearer_token(source, max_header, rings) if isinstance(source, Jwt) else source for source in policy.sources
    ]
    return Identity(sources, policy.trusted_proxies, policy.hash_key, report)


def _bearer_token(jwt: Jwt, max_header: int, rings: KeyRings) -> BearerToken:
    verifier = Verifier(jwt.policy, max_header, rings.of(jwt.policy))
    return BearerToken(verifier, jwt.claim, jwt.tier_claim, jwt.header, jwt.bearer, jwt.cookie, jwt.attributes)


def identity_headers(policy: IdentityPolicy) -> list[str]:
    """Names of the headers that only a trusted proxy may set."""
    return [
        name
        for source in policy.sources
        if isinstance(source, TrustedHeader)
        for name in (source.header, source.tier_header, *source.attributes.values())
        if name
    ]


def credential_headers(policy: IdentityPolicy) -> list[str]:
    """Names of the headers in which callers send a token or a key."""
    return [source.header for source in policy.sources if isinstance(source, Jwt | ApiKey)]
