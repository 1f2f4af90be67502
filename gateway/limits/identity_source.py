"""`IdentitySource`: finds a user id in a request: a header of a trusted proxy, a verified JWT, a known API key."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, NamedTuple, Protocol

from gateway.limits.address import Address, Unix
from gateway.limits.caller import NOTHING
from gateway.limits.rejection import Rejection

_EXACT: Final = 2.0**53
"""A float below it that is a whole number has the digits that were sent."""


_JWT: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]", re.ASCII)
"""A signed token: its header is a JSON object, so it begins like this (RFC 7515 section 3.1)."""


class Headers(Protocol):
    """A request's headers by name, in any case.

    multidict has several classes of this form; this room imports nothing but Python.
    """

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]:
        """All values of a header, in order."""


class Certificate(NamedTuple):
    """What was verified of a client, read once for each connection.

    Attributes:
        uris: The URIs among its names, such as a SPIFFE ID.
        hosts: The DNS names.
        subject: The SHA-256, in hex, of its subject in DER; empty if it cannot be read.
        expires: Seconds since 1970.
    """

    uris: tuple[str, ...]
    hosts: tuple[str, ...]
    subject: str
    expires: float


@dataclass(init=False, slots=True)
class Sender:
    """What is known of a request's sender before it is identified.

    Attributes:
        peer: The other end of the connection. None if it is unknown: uvloop cannot tell it for a connection that was
            reset before it was accepted, although the bytes that came first are still read.
        trusted: Whether the peer is a trusted proxy.
        headers: The request's headers.
        certificate: The client certificate of the connection; None if there is none.
    """

    peer: Final[Address | Unix | None]
    trusted: Final[bool]
    headers: Final[Headers]
    certificate: Final[Certificate | None]

    def __init__(
        self,
        peer: Address | Unix | None, trusted: bool, headers: Headers, certificate: Certificate | None = None,
    ) -> None:  # fmt: skip
        self.peer = peer
        self.trusted = trusted
        self.headers = headers
        self.certificate = certificate


@dataclass(init=False, slots=True)
class Claim:
    """What a source found: a user id and, maybe, a tier and attributes."""

    user: Final[str]
    tier: Final[str | None]
    attributes: Final[Mapping[str, str]]

    def __init__(self, user: str, tier: str | None = None, attributes: Mapping[str, str] = NOTHING) -> None:
        self.user = user
        self.tier = tier
        self.attributes = attributes


class IdentitySource(Protocol):
    """Identifies a sender: `TrustedHeader`, `BearerToken`, `ApiKey` or `ClientCertificate`."""

    @property
    def kind(self) -> str:
        """What it reads; a key of `REASONS`."""

    @property
    def reads(self) -> str:
        """What it reads: the name of a header, ``cookie NAME``, or ``client certificate``."""

    @property
    def attributes(self) -> Collection[str]:
        """Names of the attributes that it may find."""

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        """The claim that this source found and believes; why it does not believe it; None if there is nothing."""


@dataclass(frozen=True, slots=True)
class TrustedHeader:
    """A header set by a trusted proxy; from any other peer it is ignored.

    A header that occurs twice is ignored as well, because somebody added to what the proxy wrote.

    Attributes:
        header: The header that holds the user id.
        tier_header: The one that holds the tier; None if there is none.
        attributes: By the names of attributes, the headers that hold them.
    """

    header: str
    tier_header: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """A key of `REASONS`."""
        return "trusted_header"

    @property
    def reads(self) -> str:
        """Name of the header."""
        return self.header

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        values = sender.headers.getall(self.header, ())
        if not values:
            return None
        if not sender.trusted:
            why = f"{self.header} came from a peer that is not trusted"
            return Rejection("trusted_header", "untrusted_peer", why) if any(values) else None
        user = values[0].strip(" \t") if len(values) == 1 else ""
        if not user:
            return None
        tier = _single(sender.headers, self.tier_header) if self.tier_header else None
        if not self.attributes:
            return Claim(user, tier)
        found = {name: _single(sender.headers, header) for name, header in self.attributes.items()}
        return Claim(user, tier, {name: value for name, value in found.items() if value})


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A claim of a signed JWT in a header, after the word Bearer or alone there, or in a cookie.

    Attributes:
        verify: Returns the claims of a good token, or why it is not good.
        claim: The name of the claim that holds the user id; more than one name lead into objects within objects.
        tier_claim: The same for the tier; None if tokens do not say it.
        header: Name of the header.
        bearer: Whether the word Bearer stands before the token.
        cookie: Name of the cookie that holds the token; None if it has a header of its own.
        attributes: By the names of attributes, the claims that hold them, named in the same way.
    """

    verify: Callable[[str], Mapping[str, object] | Rejection] = field(repr=False)
    claim: tuple[str, ...]
    tier_claim: tuple[str, ...] | None
    header: str
    bearer: bool = True
    cookie: str | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """A key of `REASONS`."""
        return "jwt"

    @property
    def reads(self) -> str:
        """Name of the header, or ``cookie NAME``."""
        return self.header if self.cookie is None else f"cookie {self.cookie}"

    def token(self, headers: Headers) -> str | Rejection | None:
        """The token in a request; None if there is none."""
        text = _single(headers, self.header)
        if not text:
            return None
        if self.cookie is not None:
            return self._in_cookie(text, self.cookie)
        if not self.bearer:
            return text
        # A tab is accepted, because many servers accept it: their user must not be charged as an unknown caller.
        scheme, _, token = text.replace("\t", " ").partition(" ")
        if scheme.lower() != "bearer":
            if self.header.lower() == "authorization" and not _JWT.search(text):
                return None  # it has other schemes, which are the upstream's business
            return Rejection("jwt", "malformed", f"{self.header} does not start with the word Bearer")
        return token.strip()

    def _in_cookie(self, text: str, name: str) -> str | Rejection | None:
        """The value of a cookie (RFC 6265 section 4.2.1). Of two with its name, servers differ in which one counts."""
        pairs = (pair.partition("=") for pair in text.split(";"))
        values = [value.strip(' \t"') for key, _, value in pairs if key.strip(" \t") == name]
        if len(values) > 1:
            return Rejection("jwt", "repeated", f"there are several cookies called {name}")
        return values[0] or None if values else None

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        token = self.token(sender.headers)
        if token is None or isinstance(token, Rejection):
            return token
        claims = self.verify(token)
        if isinstance(claims, Rejection):
            return claims
        user = _name_in(claims, self.claim)
        if user is None:
            what = "is missing, empty, or neither a text nor a whole number"
            return Rejection("jwt", "no_user", f"the claim {'.'.join(self.claim)} {what}")
        tier = _name_in(claims, self.tier_claim) if self.tier_claim else None
        return Claim(user, tier, self._attributes_in(claims) if self.attributes else NOTHING)

    def _attributes_in(self, claims: Mapping[str, object]) -> dict[str, str]:
        found = {name: _name_in(claims, claim) for name, claim in self.attributes.items()}
        return {name: value for name, value in found.items() if value is not None}


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


class Holders(Protocol):
    """The holders of API keys: a mapping, or one that reloads replace."""

    def get(self, digest: str, /) -> Claim | None:
        """The holder of the key with a SHA-256, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A known key in a header. Only hashes are kept.

    Attributes:
        holders: Find a key's holder by its SHA-256 in hex.
        header: Name of the header.
        attributes: Names of all attributes that some holder may have.
    """

    holders: Holders = field(repr=False)
    header: str = "X-Api-Key"
    attributes: Collection[str] = ()

    @property
    def kind(self) -> str:
        """A key of `REASONS`."""
        return "api_key"

    @property
    def reads(self) -> str:
        """Name of the header."""
        return self.header

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        key = _single(sender.headers, self.header)
        if not key:
            return None
        digest = sha256(key.encode(errors="surrogateescape")).hexdigest()
        return self.holders.get(digest) or Rejection("api_key", "unknown_key", f"the key in {self.header} is unknown")


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A name in the certificate with which a client has connected. One with several names of the kind is nobody's.

    Attributes:
        name: Which name is the user id.
    """

    name: Literal["uri", "dns", "subject"]

    @property
    def kind(self) -> str:
        """A key of `REASONS`."""
        return "client_certificate"

    @property
    def reads(self) -> str:
        """That it is no header."""
        return "client certificate"

    @property
    def attributes(self) -> tuple[str, ...]:
        """None: names of attributes are not in certificates."""
        return ()

    def __call__(self, sender: Sender, /) -> Claim | Rejection | None:
        certificate = sender.certificate
        if certificate is None:
            return None
        if self.name == "subject":
            names: tuple[str, ...] = (certificate.subject,)
        else:
            names = certificate.uris if self.name == "uri" else certificate.hosts
        if len(names) > 1:
            why = f"the client's certificate has several names of kind {self.name}"
            return Rejection(self.kind, "several_names", why)
        if not any(names):
            return Rejection(self.kind, "no_name", f"the client's certificate has no name of kind {self.name}")
        return Claim(names[0])


def _single(headers: Headers, name: str) -> str | None:
    values = headers.getall(name, ())
    return values[0].strip(" \t") if len(values) == 1 else None
