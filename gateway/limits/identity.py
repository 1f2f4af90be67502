"""Who is asking: an ordered list of sources, the first that knows the caller wins.

A source is one of: a verified JWT claim, a header set by a trusted proxy, a known API key, the client's address. A
source that finds nothing, or nothing it can believe, passes to the next; so a bad token is limited by address and an
invented one buys no fresh bucket.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import NamedTuple, Protocol

from gateway.limits.address import LOOPBACK, Address, Network, belongs, find_client, group


class Fields(Protocol):
    """Header fields by name, whatever its case."""

    def get(self, name: str, /) -> str | None:
        """The first value of a field, or None."""

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]:
        """All values of a field, in order."""


class Asker(NamedTuple):
    """The facts of a request that tell who sent it.

    Attributes:
        peer: The other end of the connection; None when nobody knows: uvloop cannot say it of a connection that was
            reset before it was accepted, though the bytes that came first are still read.
        trusted: Whether the peer is a trusted proxy.
        headers: The request's header fields.
    """

    peer: Address | None
    trusted: bool
    headers: Fields


class Caller(NamedTuple):
    """Whom a request is charged to.

    Attributes:
        id: The user id in the clear; empty for a caller known by address only, so that no address passes for a user.
            It is in no repr, and must be in no log, key or label.
        digest: The id as a keyed hash, 32 hex digits: what keys and logs carry.
        tier: The plan the user is on; None when the source does not say.
        address: The client's address.
    """

    id: str
    digest: bytes
    tier: str | None = None
    address: Address | None = None

    def __repr__(self) -> str:
        return f"Caller(digest={self.digest!r}, tier={self.tier!r})"


class Claim(NamedTuple):
    """What a source believes: a user id and, maybe, a tier."""

    user: str
    tier: str | None = None


class Source(Protocol):
    """Finds out who is asking, or passes."""

    def __call__(self, asker: Asker, /) -> Claim | None:
        """The claim this source believes, or None."""


@dataclass(frozen=True, slots=True)
class TrustedHeader:
    """A header that a trusted proxy in front of us has set; from anybody else it is nothing.

    A header that stands twice is nothing as well: somebody added to what the proxy wrote.
    """

    header: str
    tier_header: str | None = None

    def __call__(self, asker: Asker, /) -> Claim | None:
        if not asker.trusted:
            return None
        user = _single(asker.headers, self.header)
        if not user:
            return None
        return Claim(user, _single(asker.headers, self.tier_header) if self.tier_header else None)


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A claim of a signed JWT in a header. `verify` returns the claims of a good token, None for any other."""

    verify: Callable[[str], Mapping[str, object] | None] = field(repr=False)
    claim: str = "sub"
    tier_claim: str | None = None
    header: str = "Authorization"

    def __call__(self, asker: Asker, /) -> Claim | None:
        text = _single(asker.headers, self.header)
        if not text:
            return None
        # A tab will do, as it does for many servers: whom they take for a user is not to be charged as a stranger.
        scheme, _, token = text.replace("\t", " ").partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = self.verify(token.strip())
        if claims is None:
            return None
        user = claims.get(self.claim)
        if not isinstance(user, str) or not user:
            return None
        tier = claims.get(self.tier_claim) if self.tier_claim else None
        return Claim(user, tier if isinstance(tier, str) else None)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A known key in a header. Only hashes are kept: `holders` maps a key's SHA-256 in hex to whose it is."""

    holders: Mapping[str, Claim] = field(repr=False)
    header: str = "X-Api-Key"

    def __call__(self, asker: Asker, /) -> Claim | None:
        key = _single(asker.headers, self.header)
        return self.holders.get(sha256(key.encode(errors="surrogateescape")).hexdigest()) if key else None


def _single(headers: Fields, name: str) -> str | None:
    values = headers.getall(name, ())
    return values[0].strip(" \t") if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Identity:
    """Finds whom to charge.

    Attributes:
        sources: In the order in which they are asked. The client's address is asked last of all.
        trusted_proxies: Networks whose X-Forwarded-For and identity headers are believed.
        hash_key: Key of the hash under which user ids are kept, up to 64 bytes. All gateways on one Redis need the
            same one.

    Raises:
        ValueError: the hash key is too long.
    """

    sources: Sequence[Source] = (TrustedHeader("X-User-Id", "X-User-Tier"),)
    trusted_proxies: tuple[Network, ...] = LOOPBACK
    hash_key: bytes = field(default=b"", repr=False)
    _hashes: Mapping[str, blake2b] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.hash_key) > blake2b.MAX_KEY_SIZE:
            raise ValueError(f"a hash key has at most {blake2b.MAX_KEY_SIZE} bytes, this one has {len(self.hash_key)}")
        kinds = {kind: blake2b(digest_size=16, key=self.hash_key, person=kind.encode()) for kind in ("user", "address")}
        object.__setattr__(self, "_hashes", kinds)

    def trusts(self, peer: Address | None) -> bool:
        """Whether the other end of a connection is a trusted proxy; one that nobody knows is not."""
        return belongs(peer, self.trusted_proxies)

    def identify(self, asker: Asker) -> Caller:
        """Whom to charge; never fails, for everybody comes from somewhere."""
        address = asker.peer
        if asker.trusted and (told := asker.headers.getall("X-Forwarded-For", ())):
            address = find_client(asker.peer, ",".join(told), self.trusted_proxies)
        for source in self.sources:
            claim = source(asker)
            if claim is not None:
                return self.user(claim.user, claim.tier, address)
        name = group(address) if address is not None else "unknown"
        return Caller("", self._digest("address", name), None, address)

    def user(self, user: str, tier: str | None = None, address: Address | None = None) -> Caller:
        """The caller with a user id that has been verified."""
        return Caller(user, self._digest("user", user), tier, address)

    def _digest(self, kind: str, name: str) -> bytes:
        begun = self._hashes[kind].copy()
        begun.update(name.encode(errors="surrogatepass"))  # takes any str, and no two give the same bytes
        return begun.hexdigest().encode()
