"""`IdentityPolicy`: how callers are identified."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.limits.address import Network, Unix
from gateway.limits.identity_source import Claim, ClientCertificate, TrustedHeader
from gateway.settings.token_key import TokenPolicy


@dataclass(frozen=True, slots=True)
class Jwt:
    """A signed token that the client sends in a header or a cookie. One that is invalid, or never expires, is ignored.

    Attributes:
        policy: Which tokens are accepted.
        claim: The claim that holds the user ID, a text or a whole number. `user.id` is the member `id` of the object
            `user`. A name with a colon, such as `https://example.com/id`, is one name. A list gives each name as it is:
            `[user.id]` is a claim whose name has a dot, `[user, id]` the same as `user.id`.
        tier_claim: The claim that holds the tier, named in the same way; without it, tokens say nothing about tiers.
        header: The header that holds the token.
        bearer: Whether the word Bearer stands before it there; `false`: the header holds nothing but the token.
        cookie: The cookie that holds the token, instead of a header of its own. One that a request has twice is not
            believed.
        attributes: Claims that say more of the caller, named in the same way, by the names that limits have for it:
            `{org: org_id, team: team.id}`.
    """

    policy: TokenPolicy
    claim: tuple[str, ...] = ("sub",)
    tier_claim: tuple[str, ...] | None = None
    header: str = "Authorization"
    bearer: bool = True
    cookie: str | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Keys that clients send in a header. Only their hashes are kept.

    Attributes:
        header: The header that holds the key.
        keys: The holders of known keys, by the keys' SHA-256 in hexadecimal.
        file: A file of more of them, in JSON Lines; each reload reads it.
        attributes: Names of all attributes that holders of keys may have.
    """

    header: str = "X-Api-Key"
    keys: Mapping[str, Claim] = field(default_factory=dict, repr=False)
    file: Path | None = None
    attributes: tuple[str, ...] = ()


Source = TrustedHeader | Jwt | ApiKeys | ClientCertificate


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """How callers are identified.

    Attributes:
        sources: Tried in this order; the client's address is always the last resort, and by default the only one.
        trusted_proxies: Networks whose X-Forwarded-For and identity headers are trusted, and `unix` for all peers on
            Unix sockets; by default none. The proxies there must set or clear these headers in every request (see
            front-proxies.md).
        proxy_headers: More headers that only a trusted proxy may set, beside the many that are known (see
            operations.md); a `*` at the end stands for any ending. From other peers they are removed.
        hash_key: Key of the hash under which user IDs are stored. All gateways on one Redis need the same one.
    """

    sources: tuple[Source, ...] = ()
    trusted_proxies: tuple[Network | Unix, ...] = ()
    proxy_headers: tuple[str, ...] = ()
    hash_key: bytes = field(default=b"", repr=False)

    @property
    def attributes(self) -> Sequence[Collection[str]]:
        """Names of the attributes that each source may find."""
        return [source.attributes for source in self.sources]

    def places(self) -> list[tuple[str, Source]]:
        """The sources, each with its place in `gateway.yaml`, such as ``identity.sources[0]``."""
        return [(f"identity.sources[{index}]", source) for index, source in enumerate(self.sources)]
