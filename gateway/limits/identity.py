"""Who sent a request: an ordered list of sources, of which the first that knows the caller wins.

A source is one of: a verified JWT claim, a header set by a trusted proxy, a known API key, the client's address. If a
source finds nothing, or nothing it can believe, the next one is tried. So a request with a bad token is limited by
address, and an invented token gets no bucket of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import NamedTuple, Protocol

from gateway.limits.address import LOOPBACK, Address, Network, belongs, find_client, group


class Headers(Protocol):
    """A request's headers by name, in any case; multidict has several classes of this form."""

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]:
        """All values of a header, in order."""


class Sender(NamedTuple):
    """What is known of a request's sender before it is identified.

    Attributes:
        peer: The other end of the connection. None if it is unknown: uvloop cannot tell it for a connection that was
            reset before it was accepted, although the bytes that came first are still read.
        trusted: Whether the peer is a trusted proxy.
        headers: The request's headers.
    """

    peer: Address | None
    trusted: bool
    headers: Headers


class Caller(NamedTuple):
    """Whom a request is charged to.

    Attributes:
        id: The user id in the clear; empty for a caller known by address only, so that no address passes for a user.
            It is not in the repr, and must not be in any log, key or label.
        digest: The id as a keyed hash, 32 hex digits, for keys and logs.
        tier: The user's plan; None if the source does not name one.
        address: The client's address.
    """

    id: str
    digest: bytes
    tier: str | None = None
    address: Address | None = None

    def __repr__(self) -> str:
        return f"Caller(digest={self.digest!r}, tier={self.tier!r})"


class Claim(NamedTuple):
    """What a source found: a user id and, maybe, a tier."""

    user: str
    tier: str | None = None


class Source(Protocol):
    """Identifies a sender: `TrustedHeader`, `BearerToken` or `ApiKey`."""

    def __call__(self, sender: Sender, /) -> Claim | None:
        """The claim that this source found and believes, or None."""


@dataclass(frozen=True, slots=True)
class TrustedHeader:
    """A header set by a trusted proxy; from any other peer it is ignored.

    A header that occurs twice is ignored as well, because somebody added to what the proxy wrote.
    """

    header: str
    tier_header: str | None = None

    def __call__(self, sender: Sender, /) -> Claim | None:
        if not sender.trusted:
            return None
        user = _single(sender.headers, self.header)
        if not user:
            return None
        return Claim(user, _single(sender.headers, self.tier_header) if self.tier_header else None)


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A claim of a signed JWT in a header. `verify` returns the claims of a valid token, None for any other."""

    verify: Callable[[str], Mapping[str, object] | None] = field(repr=False)
    claim: str = "sub"
    tier_claim: str | None = None
    header: str = "Authorization"

    def __call__(self, sender: Sender, /) -> Claim | None:
        text = _single(sender.headers, self.header)
        if not text:
            return None
        # A tab is accepted, because many servers accept it: their user must not be charged as an unknown caller.
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
    """A known key in a header. Only hashes are kept: `holders` maps a key's SHA-256 in hex to its holder."""

    holders: Mapping[str, Claim] = field(repr=False)
    header: str = "X-Api-Key"

    def __call__(self, sender: Sender, /) -> Claim | None:
        key = _single(sender.headers, self.header)
        return self.holders.get(sha256(key.encode(errors="surrogateescape")).hexdigest()) if key else None


def _single(headers: Headers, name: str) -> str | None:
    values = headers.getall(name, ())
    return values[0].strip(" \t") if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class Identity:
    """Finds whom to charge.

    Attributes:
        sources: In the order in which they are tried. The client's address is used when none finds the caller.
        trusted_proxies: Networks whose X-Forwarded-For and identity headers are believed.
        hash_key: Key of the hash of user ids, up to 64 bytes. All gateways on one Redis need the same one.

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
        """Whether the other end of a connection is a trusted proxy; an unknown one is not."""
        return belongs(peer, self.trusted_proxies)

    def identify(self, sender: Sender) -> Caller:
        """Whom to charge. Never fails."""
        address = sender.peer
        if sender.trusted and (forwarded_for := sender.headers.getall("X-Forwarded-For", ())):
            address = find_client(sender.peer, ",".join(forwarded_for), self.trusted_proxies)
        for source in self.sources:
            claim = source(sender)
            if claim is not None:
                return self.user(claim.user, claim.tier, address)
        name = group(address) if address is not None else "unknown"
        return Caller("", self._digest("address", name), None, address)

    def user(self, user: str, tier: str | None = None, address: Address | None = None) -> Caller:
        """The caller with a verified user id."""
        return Caller(user, self._digest("user", user), tier, address)

    def _digest(self, kind: str, name: str) -> bytes:
        digest = self._hashes[kind].copy()
        digest.update(name.encode(errors="surrogatepass"))  # encodes any str, and no two to the same bytes
        return digest.hexdigest().encode()
