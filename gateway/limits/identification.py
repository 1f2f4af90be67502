"""`attempts`: which sources were asked who the caller is, and what each of them found."""

from typing import NamedTuple

from gateway.limits.identity import Identity
from gateway.limits.identity_source import BearerToken, Claim, ClientCertificate, IdentitySource, Sender, TrustedHeader
from gateway.limits.rejection import Rejection


class Attempt(NamedTuple):
    """What one source made of a request.

    Attributes:
        source: The kind of the source; a key of `REASONS`.
        reads: What it reads: the name of a header, ``cookie NAME``, or ``client certificate``.
        identified: Whether it knows the caller. It is the last that was asked then.
        why: What it read, or why it did not know the caller; quotes nothing that the client sent.
    """

    source: str
    reads: str
    identified: bool
    why: str


def attempts(identity: Identity, sender: Sender) -> tuple[Attempt, ...]:
    """The sources in the order in which `Identity.identify` asks them, up to the first that knows the caller."""
    made: list[Attempt] = []
    for source in identity.sources:
        found = source(sender)
        if isinstance(found, Claim):
            made.append(Attempt(source.kind, source.reads, identified=True, why=_read(source, found)))
            break
        why = found.why if isinstance(found, Rejection) else _nothing(source, sender)
        made.append(Attempt(source.kind, source.reads, identified=False, why=why))
    return tuple(made)


def _read(source: IdentitySource, claim: Claim) -> str:
    if isinstance(source, BearerToken):
        return f"the claim {'.'.join(source.claim)} names the user" + _tier(
            ".".join(source.tier_claim) if source.tier_claim else "", "the claim", claim
        )
    if isinstance(source, TrustedHeader):
        return f"{source.header} names the user" + _tier(source.tier_header or "", "the header", claim)
    if isinstance(source, ClientCertificate):
        return f"its name of kind {source.name} names the user"
    return "the key is known" + (", and has a tier" if claim.tier else ", and has no tier")


def _tier(name: str, kind: str, claim: Claim) -> str:
    if not name:
        return ""
    return f", and {kind} {name} {'the tier' if claim.tier else 'names no tier'}"


def _nothing(source: IdentitySource, sender: Sender) -> str:
    if isinstance(source, ClientCertificate):
        return "the connection has no client certificate"
    if isinstance(source, BearerToken) and source.cookie is not None:
        return f"the request has no {source.reads}, or it is empty"
    values = sender.headers.getall(source.reads, ())
    if not values:
        return f"the request has no {source.reads}"
    if len(values) > 1:
        return f"the request has {source.reads} {len(values)} times"
    if not values[0].strip(" \t"):
        return f"{source.reads} is empty"
    return f"{source.reads} has another scheme than Bearer"
