"""Identities and sources as tests need them; the gateway's own defaults are in its settings."""

from collections.abc import Callable, Mapping, Sequence

from gateway.limits.address import LOCAL, Network, Unix
from gateway.limits.identity import Identity, unreported
from gateway.limits.identity_source import BearerToken, IdentitySource, TrustedHeader
from gateway.limits.rejection import Rejection


def make_identity(
    sources: Sequence[IdentitySource] = (TrustedHeader("X-User-Id", "X-User-Tier"),),
    trusted_proxies: tuple[Network | Unix, ...] = LOCAL,
    hash_key: bytes = b"",
    report: Callable[[Rejection], object] = unreported,
) -> Identity:
    """Believes X-User-Id from this machine, unless told otherwise."""
    return Identity(sources, trusted_proxies, hash_key, report)


def bearer_token(
    verify: Callable[[str], Mapping[str, object] | Rejection],
    claim: tuple[str, ...] = ("sub",),
    tier_claim: tuple[str, ...] | None = None,
    header: str = "Authorization",
    *,
    bearer: bool = True,
    cookie: str | None = None,
) -> BearerToken:
    """A token whose claim `sub` is the user."""
    return BearerToken(verify, claim, tier_claim, header, bearer, cookie)
