"""Who sent a request: an ordered list of sources, of which the first that knows the caller wins.

A source is one of: a verified JWT claim, a header set by a trusted proxy, a known API key, the client's address. If a
source finds nothing, or nothing it can believe, the next one is tried. So a request with a bad token is limited by
address, and an invented token gets no bucket of its own. What was not believed is reported, with the reason.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import ClassVar, NamedTuple, Protocol

from gateway.limits.address import Address, Network, Unix, belongs, group
from gateway.limits.forwarded_for import find_client

CLIENT_ADDRESS = "client_address"
"""The source of a caller who is known by nothing else."""

GIVEN = "given"
"""The source of a caller whom an operator or a service names."""

_EXACT = 2.0**53
"""A float below it that is a whole number has the digits that were sent."""


_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]", re.ASCII)
"""A signed token: its header is a JSON object, so it begins like this (RFC 7515 section 3.1)."""


class Headers(Protocol):
    """A request's headers by name, in any case.

    multidict has several classes of this form; this room imports nothing but Python.
    """

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

    peer: Address | Unix | None
    trusted: bool
    headers: Headers


class Caller(NamedTuple):
    """Whom a request is charged to.

    Attributes:
        id: The user id in the clear; empty for a caller known by address only, so that no address passes for a user.
            It is not in the repr, and must not be in any log, key or label.
        digest: The id as a keyed hash, 32 hex digits, for keys and logs.
        tier: The user's tier; None if the source does not name one.
        address: The client's address; None if it is unknown.
        address_digest: The address, as it is limited (see `group`), as a keyed hash; None unless the caller is known by
            it, or it was asked for.
        source: What identified the caller: the kind of a source, `CLIENT_ADDRESS` or `GIVEN`.
    """

    id: str
    digest: bytes
    tier: str | None = None
    address: Address | Unix | None = None
    address_digest: bytes | None = None
    source: str = CLIENT_ADDRESS

    def __repr__(self) -> str:
        return f"Caller(digest={self.digest!r}, tier={self.tier!r})"


class Claim(NamedTuple):
    """What a source found: a user id and, maybe, a tier."""

    user: str
    tier: str | None = None


REASONS: Mapping[str, tuple[str, ...]] = {
    "jwt": (
        "too_long", "malformed", "unknown_key", "bad_signature", "no_expiry", "expired", "not_yet_valid",
        "wrong_audience", "wrong_issuer", "no_user",
    ),
    "api_key": ("unknown_key",),
    "trusted_header": ("untrusted_peer",),
    "x_forwarded_for": ("untrusted_peer", "malformed"),
}  # fmt: skip
"""Why what names a caller is not accepted, by its source. The reasons stand in the order in which they are checked."""


class Rejection(NamedTuple):
    """Something that names a caller, and was not accepted.

    Attributes:
        source: What kind of thing it is; a key of `REASONS`.
        reason: One of the source's reasons.
        why: The same in a sentence, which quotes nothing that the client sent.
    """

    source: str
    reason: str
    why: str


_FORWARDED_BY_STRANGER = Rejection(
    "x_forwarded_for", "untrusted_peer", "X-Forwarded-For came from a peer that is not trusted"
)
_FORWARDED_MALFORMED = Rejection(
    "x_forwarded_for",
    "malformed",
    "X-Forwarded-For of a trusted proxy names no client: an entry is not an address, or there are too many",
)


class IdentitySource(Protocol):
    """Identifies a sender: `TrustedHeader`, `BearerToken` or `ApiKey`."""

    kind: ClassVar[str]
    """What it reads; a key of `REASONS`."""

    @property
    def header(self) -> str:
        """Name of the header that it reads."""

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        """The claim that this source found and believes; why it does not believe it; None if there is nothing."""


@dataclass(frozen=True, slots=True)
class TrustedHeader:
    """A header set by a trusted proxy; from any other peer it is ignored.

    A header that occurs twice is ignored as well, because somebody added to what the proxy wrote.
    """

    kind: ClassVar[str] = "trusted_header"

    header: str
    tier_header: str | None = None

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        user = _single(sender.headers, self.header)
        if not user:
            return None
        if not sender.trusted:
            return Rejection("trusted_header", "untrusted_peer", f"{self.header} came from a peer that is not trusted")
        return Claim(user, _single(sender.headers, self.tier_header) if self.tier_header else None)


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A claim of a signed JWT in a header, after the word Bearer.

    Attributes:
        verify: Returns the claims of a good token, or why it is not good.
        claim: The name of the claim that holds the user id; more than one name lead into objects within objects.
        tier_claim: The same for the tier; None if tokens do not say it.
        header: Name of the header.
    """

    kind: ClassVar[str] = "jwt"

    verify: Callable[[str], Mapping[str, object] | Rejection] = field(repr=False)
    claim: tuple[str, ...]
    tier_claim: tuple[str, ...] | None
    header: str

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        text = _single(sender.headers, self.header)
        if not text:
            return None
        # A tab is accepted, because many servers accept it: their user must not be charged as an unknown caller.
        scheme, _, token = text.replace("\t", " ").partition(" ")
        if scheme.lower() != "bearer":
            if self.header.lower() == "authorization" and not _JWT.search(text):
                return None  # it has other schemes, which are the upstream's business
            return Rejection("jwt", "malformed", f"{self.header} does not start with the word Bearer")
        claims = self.verify(token.strip())
        if isinstance(claims, Rejection):
            return claims
        user = _name_in(claims, self.claim)
        if user is None:
            what = "is missing, empty, or neither a text nor a whole number"
            return Rejection("jwt", "no_user", f"the claim {'.'.join(self.claim)} {what}")
        return Claim(user, _name_in(claims, self.tier_claim) if self.tier_claim else None)


def _name_in(claims: Mapping[str, object], path: tuple[str, ...]) -> str | None:
    """The name that a claim holds; None if there is no such claim, or it is no name.

    A text is a name, unless it is empty. So is a whole number, as its decimal digits: 7 is the same user as "7".
    JSON has one type of number (RFC 8259 section 6), so 7.0 is 7; beyond 2^53 a fraction's digits are not reliable.
    Nothing else is a name: no fraction, true, false, null, list or object.
    """
    value: object = claims
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, str):
        return value or None
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    return str(value) if type(value) is int else None  # not a bool


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A known key in a header. Only hashes are kept: `holders` maps a key's SHA-256 in hex to its holder."""

    kind: ClassVar[str] = "api_key"

    holders: Mapping[str, Claim] = field(repr=False)
    header: str = "X-Api-Key"

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        key = _single(sender.headers, self.header)
        if not key:
            return None
        digest = sha256(key.encode(errors="surrogateescape")).hexdigest()
        return self.holders.get(digest) or Rejection("api_key", "unknown_key", f"the key in {self.header} is unknown")


def _single(headers: Headers, name: str) -> str | None:
    values = headers.getall(name, ())
    return values[0].strip(" \t") if len(values) == 1 else None


def _progress(rejection: Rejection) -> int:
    return REASONS[rejection.source].index(rejection.reason)


def unreported(_rejection: Rejection) -> None:
    """Tell nobody what was not accepted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Finds whom to charge.

    Attributes:
        sources: In the order in which they are tried. The client's address is used when none finds the caller.
        trusted_proxies: Networks, and perhaps Unix sockets, whose X-Forwarded-For and identity headers are believed.
        hash_key: Key of the hash of user ids, up to 64 bytes. All gateways on one Redis need the same one.
        report: Is told what was not accepted.

    Raises:
        ValueError: the hash key is too long.
    """

    sources: Sequence[IdentitySource]
    trusted_proxies: tuple[Network | Unix, ...]
    hash_key: bytes = field(repr=False)
    report: Callable[[Rejection], object] = field(default=unreported, repr=False, compare=False)
    _hashes: Mapping[str, blake2b] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.hash_key) > blake2b.MAX_KEY_SIZE:
            raise ValueError(f"a hash key has at most {blake2b.MAX_KEY_SIZE} bytes, this one has {len(self.hash_key)}")
        kinds = {kind: blake2b(digest_size=16, key=self.hash_key, person=kind.encode()) for kind in ("user", "address")}
        object.__setattr__(self, "_hashes", kinds)

    def trusts(self, peer: Address | Unix | None) -> bool:
        """Whether the other end of a connection is a trusted proxy; an unknown one is not."""
        return belongs(peer, self.trusted_proxies)

    def identify(self, sender: Sender, *, locate: bool = False) -> Caller:
        """Whom to charge. Never fails.

        Args:
            sender: Who sent the request.
            locate: Also hash the address of a caller who is known by something else.
        """
        address = sender.peer
        if forwarded_for := sender.headers.getall("X-Forwarded-For", ()):
            if sender.trusted:
                client = find_client(sender.peer, ",".join(forwarded_for), self.trusted_proxies)
                if client is None:
                    self.report(_FORWARDED_MALFORMED)
                else:
                    address = client
            else:
                self.report(_FORWARDED_BY_STRANGER)
        rejections: list[tuple[str, Rejection]] = []
        for source in self.sources:
            found = source(sender)
            if isinstance(found, Claim):
                if rejections:
                    self._report(rejections, accepted=source.header)
                located = self._located(address) if locate else None
                return Caller(found.user, self.digest("user", found.user), found.tier, address, located, source.kind)
            if found is not None:
                rejections.append((source.header, found))
        if rejections:
            self._report(rejections)
        return self.client(address)

    def _report(self, rejections: Iterable[tuple[str, Rejection]], accepted: str = "") -> None:
        """Report each header once.

        Several sources may read one header, such as the tokens of two issuers. If one of them accepts it, all is well;
        otherwise the one that read furthest knows best what is wrong.
        """
        worst: dict[str, Rejection] = {}
        for header, rejection in rejections:
            name = header.lower()
            known = worst.get(name)
            if name != accepted.lower() and (known is None or _progress(rejection) > _progress(known)):
                worst[name] = rejection
        for rejection in worst.values():
            self.report(rejection)

    def user(self, user: str, tier: str | None = None, address: Address | Unix | None = None) -> Caller:
        """The caller with a verified user id."""
        return Caller(user, self.digest("user", user), tier, address, source=GIVEN)

    def client(self, address: Address | Unix | None) -> Caller:
        """The caller who is known by their address only. All whose address is unknown are one."""
        digest = self._located(address)
        return Caller("", digest, None, address, digest)

    def _located(self, address: Address | Unix | None) -> bytes:
        return self.digest("address", group(address) if address is not None else "unknown")

    def digest(self, kind: str, name: str) -> bytes:
        """The keyed hash of a ``user`` or an ``address``, 32 hex digits. Those of the two kinds differ."""
        digest = self._hashes[kind].copy()
        digest.update(name.encode(errors="surrogatepass"))  # encodes any str, and no two to the same bytes
        return digest.hexdigest().encode()
