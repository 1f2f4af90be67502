"""Who sent a request: an ordered list of sources, of which the first that knows the caller wins.

A source is one of: a verified JWT claim, a header set by a trusted proxy, a known API key, the client's address. If a
source finds nothing, or nothing it can believe, the next one is tried. So a request with a bad token is limited by
address, and an invented token gets no bucket of its own. What was not believed is reported, with the reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.limits.address import Address, Network, Unix, belongs, group
from gateway.limits.caller import GIVEN, MISSING, NOTHING, Caller
from gateway.limits.forwarded_for import find_client
from gateway.limits.holder import ADDRESS, BY_ADDRESS, USER, Holder
from gateway.limits.identity_source import ApiKey, BearerToken, Claim, Headers, IdentitySource, Sender, TrustedHeader
from gateway.limits.keyed_hash import KeyedHash
from gateway.limits.rejection import REASONS, Rejection

_FORWARDED_BY_STRANGER: Final = Rejection(
    "x_forwarded_for", "untrusted_peer", "X-Forwarded-For came from a peer that is not trusted"
)
_FORWARDED_MALFORMED: Final = Rejection(
    "x_forwarded_for",
    "malformed",
    "X-Forwarded-For of a trusted proxy names no client: an entry is not an address, or there are too many",
)


def _progress(rejection: Rejection) -> int:
    return REASONS[rejection.source].index(rejection.reason)


def unreported(_rejection: Rejection) -> None:
    """Tell nobody what was not accepted."""


_ATTRIBUTES: Final = "attributes"
_KINDS: Final = (USER, ADDRESS, _ATTRIBUTES)
_NOBODY: Final = Claim("")


def _is_told(holder: Holder, attributes: Mapping[str, str], address: Address | Unix | None) -> bool:
    if holder.prefixes is not None:
        return address is not None
    return attributes.keys() >= {*holder.attributes, *[USER] * holder.user}


@dataclass(frozen=True, slots=True)
class Identity:
    """Finds whom to charge.

    Attributes:
        sources: In the order in which they are tried. The client's address is used when none finds the caller.
        trusted_proxies: Networks, and perhaps Unix sockets, whose X-Forwarded-For and identity headers are believed.
        hash_key: Key of the hash of user ids, up to 64 bytes. All gateways on one Redis need the same one.
        report: Is told what was not accepted.
        told: Names of attributes that callers may have though no source finds them.

    Raises:
        ValueError: the hash key is too long.
    """

    sources: Sequence[IdentitySource]
    trusted_proxies: tuple[Network | Unix, ...]
    hash_key: bytes = field(repr=False)
    report: Callable[[Rejection], object] = field(default=unreported, repr=False, compare=False)
    told: frozenset[str] = frozenset()
    _hashes: Mapping[str, KeyedHash] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hashes", {kind: KeyedHash(kind, self.hash_key) for kind in _KINDS})

    @property
    def attributes(self) -> frozenset[str]:
        """Names of all attributes that a source may find."""
        return self.told.union(*(source.attributes for source in self.sources))

    def trusts(self, peer: Address | Unix | None) -> bool:
        """Whether the other end of a connection is a trusted proxy; an unknown one is not."""
        return belongs(peer, self.trusted_proxies)

    def identify(self, sender: Sender, holders: Sequence[Holder] = ()) -> Caller:
        """Whom to charge. Never fails.

        Args:
            sender: Who sent the request.
            holders: Of buckets, other than users: what stands for the caller among each of them is hashed, too.
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
                digests = self._digests(holders, found, address) if holders else NOTHING
                digest = self.digest(USER, found.user)
                return Caller(found.user, digest, found.tier, address, digests, source.kind, found.attributes)
            if found is not None:
                rejections.append((source.reads, found))
        if rejections:
            self._report(rejections)
        return self.client(address, holders)

    def report_repeated(self, headers: Headers) -> None:
        """Report the headers that name a caller and that a request has more than once, which is not served."""
        read: dict[str, str] = {}
        for source in self.sources:
            if isinstance(source, TrustedHeader):
                more = (source.tier_header, *source.attributes.values())
                read |= {header: source.kind for header in more if header}
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

    def user(
        self,
        user: str,
        tier: str | None = None,
        *,
        address: Address | Unix | None = None,
        attributes: Mapping[str, str] | None = None,
        holders: Sequence[Holder] = (),
    ) -> Caller:
        """The caller with a verified user id.

        Args:
            user: The id.
            tier: The tier.
            address: The client's address; None if it is not known.
            attributes: All attributes; None if they are not known.
            holders: As for `identify`; those that are told apart by what is not known are left out.
        """
        claim = Claim(user, tier, attributes or NOTHING)
        known = [each for each in holders if (attributes if each.prefixes is None else address) is not None]
        digests = self._digests(known, claim, address)
        return Caller(user, self.digest(USER, user), tier, address, digests, GIVEN, claim.attributes)

    def with_attributes(
        self,
        attributes: Mapping[str, str],
        tier: str | None = None,
        *,
        address: Address | Unix | None = None,
        holders: Sequence[Holder] = (),
    ) -> Caller:
        """Callers of whom nothing is known but attributes, and perhaps an address: an organization.

        Limits that need to know more do not apply to them.

        Args:
            attributes: By name.
            tier: The tier.
            address: Of the client; None if it is not known.
            holders: As for `identify`.
        """
        known = [each for each in holders if _is_told(each, attributes, address)]
        digests = self._digests(known, Claim(attributes.get(USER, ""), tier, attributes), address)
        return Caller("", MISSING, tier, address, digests, GIVEN, attributes)

    def client(self, address: Address | Unix | None, holders: Sequence[Holder] = ()) -> Caller:
        """The caller who is known by their address only. All whose address is unknown are one.

        Args:
            address: The address.
            holders: As for `identify`.
        """
        digests = self._digests((BY_ADDRESS, *holders), _NOBODY, address)
        return Caller("", digests[ADDRESS], None, address, digests)

    def _digests(self, holders: Sequence[Holder], claim: Claim, address: Address | Unix | None) -> dict[str, bytes]:
        """What stands for a caller among holders of buckets, by their names."""
        found: dict[str, bytes] = {}
        for holder in holders:
            if holder.prefixes is not None:
                network = "unknown" if address is None else group(address, *holder.prefixes)
                found[holder.name] = self.digest(ADDRESS, network)
            elif claim.attributes.keys() >= set(holder.attributes):
                found[holder.name] = self.digest_of(holder, {**claim.attributes, USER: claim.user})
            else:
                found[holder.name] = MISSING
        return found

    def digest(self, kind: str, name: str) -> bytes:
        """The keyed hash of a ``user`` or an ``address``, 32 hex digits. Those of the two kinds differ."""
        return self._hashes[kind].digest(name)

    def digest_of(self, holder: Holder, values: Mapping[str, str]) -> bytes:
        """The same of a holder who is told apart by attributes, and perhaps by the user id.

        Args:
            holder: The holder.
            values: Of all its attributes, and the id under the name ``user``.
        """
        parts = [(name, values[name]) for name in (*holder.attributes, *[USER] * holder.user)]
        # With the lengths, no value can be taken for the end of one part and the start of the next.
        return self.digest(_ATTRIBUTES, "".join(f"{name}={len(value)}:{value}" for name, value in parts))
