"""Who sent a request: an ordered list of sources, of which the first that knows the caller wins.

A source is one of: a verified JWT claim, a header set by a trusted proxy, a known API key, the client's address. If a
source finds nothing, or nothing it can believe, the next one is tried. So a request with a bad token is limited by
address, and an invented token gets no bucket of its own. What was not believed is reported, with the reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from gateway.limits.address import Address, Network, Unix, belongs, group
from gateway.limits.caller import GIVEN, Caller
from gateway.limits.forwarded_for import find_client
from gateway.limits.identity_source import (
    REASONS,
    ApiKey,
    BearerToken,
    Claim,
    Headers,
    IdentitySource,
    Rejection,
    Sender,
    TrustedHeader,
)

_FORWARDED_BY_STRANGER = Rejection(
    "x_forwarded_for", "untrusted_peer", "X-Forwarded-For came from a peer that is not trusted"
)
_FORWARDED_MALFORMED = Rejection(
    "x_forwarded_for",
    "malformed",
    "X-Forwarded-For of a trusted proxy names no client: an entry is not an address, or there are too many",
)


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
                    self._report(rejections, accepted=source.reads)
                located = self._located(address) if locate else None
                return Caller(found.user, self.digest("user", found.user), found.tier, address, located, source.kind)
            if found is not None:
                rejections.append((source.reads, found))
        if rejections:
            self._report(rejections)
        return self.client(address)

    def report_repeated(self, headers: Headers) -> None:
        """Report the headers that name a caller and that a request has more than once, which is not served."""
        read: dict[str, str] = {}
        for source in self.sources:
            if isinstance(source, TrustedHeader) and source.tier_header:
                read[source.tier_header] = source.kind
            if isinstance(source, TrustedHeader | BearerToken | ApiKey):
                read[source.header] = source.kind
        for header, kind in read.items():
            if len(headers.getall(header, ())) > 1:
                self.report(Rejection(kind, "repeated", f"a request has {header} more than once"))

    def _report(self, rejections: Iterable[tuple[str, Rejection]], accepted: str = "") -> None:
        """Report each header or cookie once.

        Several sources may read the same one, such as the tokens of two issuers. If one of them accepts it, all is
        well; otherwise the one that read furthest knows best what is wrong.
        """
        worst: dict[str, Rejection] = {}
        for reads, rejection in rejections:
            name = reads.lower()
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
