"""Makes the identity sources that the settings describe, and names the headers that they read."""

from collections.abc import Callable, Iterable

from gateway.auth.caller_token import Verifier
from gateway.auth.key_ring import KeyRings
from gateway.limits.identity import Identity
from gateway.limits.identity_source import ApiKey, BearerToken, IdentitySource, TrustedHeader
from gateway.limits.rejection import Rejection
from gateway.settings.identity import ApiKeys, IdentityPolicy, Jwt, Source


def build_identity(
    policy: IdentityPolicy,
    max_header: int,
    rings: KeyRings,
    report: Callable[[Rejection], object],
    told: Iterable[str] = (),
) -> Identity:
    """Identifies callers, verifying their tokens.

    Args:
        policy: How.
        max_header: Size of one header, and so of a token.
        rings: The keys of tokens.
        report: Is told what was not accepted.
        told: Names of attributes that doors may be told.
    """
    sources = [_source(place, source, max_header, rings) for place, source in policy.places()]
    return Identity(sources, policy.trusted_proxies, policy.hash_key, report, frozenset(told))


def _source(place: str, source: Source, max_header: int, rings: KeyRings) -> IdentitySource:
    if isinstance(source, ApiKeys):
        return ApiKey(rings.api_keys(place), source.header, source.attributes)
    if not isinstance(source, Jwt):
        return source
    verifier = Verifier(source.policy, max_header, rings.of(place, source.policy))
    return BearerToken(
        verifier, source.claim, source.tier_claim, source.header, source.bearer, source.cookie, source.attributes
    )


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
    return [source.header for source in policy.sources if isinstance(source, Jwt | ApiKeys)]
