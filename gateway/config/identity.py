"""Reads `identity`."""

import re
from collections.abc import Mapping

from gateway.config.address import networks_or_unix
from gateway.config.api_key import API_KEY
from gateway.config.attribute import by_attribute
from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.node import Node, quote
from gateway.config.reader import Reader, reads
from gateway.config.scalar import choice, each, header, matching, text
from gateway.config.secret import Secret
from gateway.config.section import Section, keys_of
from gateway.config.token_key import KEY_SOURCES, POLICY_KEYS, pick_policy
from gateway.limits.address import Network, Unix
from gateway.limits.identity_source import ClientCertificate, TrustedHeader
from gateway.settings.identity import ApiKeys, IdentityPolicy, Jwt, Source
from gateway.settings.token_key import TokenPolicy

_NAME = re.compile(r"[\w-]+")
_ITEM = re.compile(r"\*|(?<=[\[./])\d+(?=[\]./]|$)")
"""An item of a list, or all items."""
_NO_URI = re.compile(r"^\$|[\s\"'<>\\^`{|}\[\]]")
"""What no URI has (RFC 3986), but paths into JSON do."""


@reads("claim", {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]}, show=".".join)
def claim(node: Node) -> tuple[str, ...]:
    """The name of a claim, followed by the names that lead into the objects within it.

    ``user.id`` are two names. A text with a colon is a URI (RFC 7519 section 2), and one name, whatever dots it has.
    A list gives each name as it is.
    """
    if not node.is_scalar:
        names = tuple(text(item) for item in node.items())
        if not names:
            raise node.refuse("the list is empty")
        return names
    value = text(node)
    if ":" in value and not _NO_URI.search(value):
        return (value,)
    names = tuple(value.split("."))
    if not all(map(_NAME.fullmatch, names)) or any(name.isdecimal() for name in names[1:]):
        raise node.refuse(
            f"{quote(value)} is neither a name nor names with dots between them; write user.id for the member id of "
            "the claim user, or a list, as in ['user/id'], for names with other characters; items of a list have no "
            "names",
            _nearest(value),
        )
    return names


def _nearest(value: str) -> str:
    """What a claim's name was meant to be: ``user.id`` for ``$.user.id``, ``/user/id`` or ``user['id']``."""
    if ":" in value or _ITEM.search(value):
        return ""
    return ".".join(name for part in _NAME.findall(value) if (name := part.strip("-")))


_ADDRESS = "client_address"
_MIN_KEY_LENGTH, _MAX_KEY_LENGTH = 16, 64
"""Bytes of a hash key; BLAKE2b takes no more."""
_HASH_KEY = Secret(
    "hash_key",
    f"the key, {_MIN_KEY_LENGTH} to {_MAX_KEY_LENGTH} bytes, of the hash under which user IDs are stored. All gateways "
    "on one Redis need the same one",
)

_cookie = matching(header.schema["pattern"][1:-1], "cookie", "is not the name of a cookie", any_scalar=False)
_ONE_PLACE = (("header", "cookie"), ("bearer", "cookie"))


def _jwt(entries: Entries) -> Jwt:
    for place in _ONE_PLACE:
        entries.one_of(*place)
    if "cookie" in entries:
        entries.values["header"] = "Cookie"
    return Jwt(pick_policy(entries), **entries.values)


HEADER = Section(
    "identity.sources.trusted_header",
    keys_of(TrustedHeader, header=header, tier_header=header, attributes=by_attribute(header, "header")),
    (TrustedHeader,),
    lambda entries: entries.build(TrustedHeader),
    required=("header",),
    about="A header set by a trusted proxy in front of the gateway; from anyone else it is ignored.",
    meanings={
        "header": "The header that holds the user ID.",
        "tier_header": "The header that holds the tier; without it, users have no tier.",
        "attributes": "Headers that say more of the caller, by the names that limits have for it: `{org: X-Org}`.",
    },
)
JWT = Section(
    "identity.sources.jwt",
    {
        **keys_of(
            Jwt,
            leave_out=("policy",),
            header=header,
            cookie=_cookie,
            claim=claim,
            tier_claim=claim,
            attributes=by_attribute(claim, "claim"),
        ),
        **POLICY_KEYS,
    },
    (Jwt, TokenPolicy),
    _jwt,
    exclusive=(*_ONE_PLACE, KEY_SOURCES),
    one_of=KEY_SOURCES,
)
CLIENT_CERTIFICATE = Section(
    "identity.sources.client_certificate",
    keys_of(ClientCertificate, name=choice("uri", "dns", "subject")),
    (ClientCertificate,),
    lambda entries: entries.build(ClientCertificate),
    required=("name",),
    about="The certificate with which a client has connected, to a listener whose `tls` has `client_ca`.",
    meanings={
        "name": "Which of its names is the user ID: `uri`, the URI, such as a SPIFFE ID; `dns`, the DNS name; or "
        "`subject`, the SHA-256 of its subject. A certificate with several URIs or DNS names identifies nobody.",
    },
)
SOURCES: Mapping[str, Reader[Source]] = {
    "trusted_header": HEADER,
    "jwt": JWT,
    "api_key": API_KEY,
    "client_certificate": CLIENT_CERTIFICATE,
}


def _source(node: Node) -> Source:
    entries = node.entries()
    if len(entries) != 1:
        raise node.refuse(f"a source has one key, its kind: {', '.join(SOURCES)}; or is the word {_ADDRESS}")
    ((kind, (key_node, child)),) = entries.items()
    if kind not in SOURCES:
        raise key_node.refuse(f"unknown kind of source; write {', '.join(SOURCES)}", node.nearest(kind, SOURCES))
    return SOURCES[kind](child)


@reads(
    "list of sources",
    {
        "type": "array",
        "items": {
            "anyOf": [
                {"const": _ADDRESS},
                *(
                    {"type": "object", "properties": {kind: section}, "required": [kind], "additionalProperties": False}
                    for kind, section in SOURCES.items()
                ),
            ]
        },
    },
)
def _sources(node: Node) -> tuple[Source, ...]:
    """The client's address may be named as the last source, and is the last one in any case."""
    sources = []
    items = node.items()
    for item in items:
        if item.is_scalar:
            word = text(item)
            if word != _ADDRESS:
                item.refuse(
                    f"a source is a mapping such as jwt: ..., or the word {_ADDRESS}", item.nearest(word, [_ADDRESS])
                )
            elif item is not items[-1]:
                item.refuse("every caller has an address, so the sources after this one are never tried; put it last")
            continue
        try:
            sources.append(_source(item))
        except InvalidError:
            continue
    return tuple(sources)


@reads(networks_or_unix.words, networks_or_unix.schema, networks_or_unix.show)
def _proxies(node: Node) -> tuple[Network | Unix, ...]:
    networks = networks_or_unix(node)
    for trusted in networks:
        if not isinstance(trusted, str) and trusted.prefixlen == 0:
            node.warn(f"{trusted} is everybody: any client can then claim to be any user")
    return networks


_proxy_header = matching(
    r"[A-Za-z0-9!#$%&'+.^`|~-]{1,64}\*?",
    "header",
    "is not the name of a header; write X-Company-User, or X-Company-* for all that begin so (names with _ never pass)",
    any_scalar=False,
)


def _check_proxy_headers(entries: Entries) -> None:
    """Note a header in which clients send their credentials, and which would not reach the upstream."""
    defaults = IdentityPolicy()
    sources = entries.get("sources", defaults.sources) or ()
    for name in entries.get("proxy_headers", defaults.proxy_headers) or ():
        start = name.lower().removesuffix("*")
        for source in sources:
            if not isinstance(source, Jwt | ApiKeys):
                continue
            asked = source.header.lower()
            if asked.startswith(start) if "*" in name else asked == start:
                entries.at("proxy_headers").refuse(
                    f"{name}: clients send tokens or keys in {source.header}, see 'sources'"
                )


def _check_trusted_headers(entries: Entries) -> None:
    """Note a header that nobody may set, and warn of one that whoever reaches a trusted proxy may be able to set."""
    defaults = IdentityPolicy()
    headers = [
        name
        for source in entries.get("sources", defaults.sources) or ()
        if isinstance(source, TrustedHeader)
        for name in (source.header, source.tier_header, *source.attributes.values())
        if name
    ]
    proxies = entries.get("trusted_proxies", defaults.trusted_proxies)
    if not headers or proxies is None:
        return
    if not proxies:
        entries.at("sources").refuse(
            f"{headers[0]} is believed from nobody: name the proxies that set it in 'trusted_proxies'"
        )
        return
    listed = ", ".join(headers[:-1]) + " and " * (len(headers) > 1) + headers[-1]
    entries.at("sources").warn(
        f"{listed}: believed from {', '.join(map(str, proxies))}. The proxy there must set or clear "
        "them in every request; if it passes on what clients send, any client can claim to be any user. "
        "docs/front-proxies.md shows how"
    )


def _identity(entries: Entries) -> IdentityPolicy:
    _check_proxy_headers(entries)
    _check_trusted_headers(entries)
    hash_key = _HASH_KEY.pick(entries)
    if hash_key is None:
        return entries.build(IdentityPolicy)
    if not _MIN_KEY_LENGTH <= len(hash_key) <= _MAX_KEY_LENGTH:
        entries.at(entries.one_of(*_HASH_KEY.pair) or "").refuse(
            f"a hash key is {_MIN_KEY_LENGTH} to {_MAX_KEY_LENGTH} bytes long, this one has {len(hash_key)}; "
            "make one with: openssl rand -hex 32"
        )
    return entries.build(IdentityPolicy, hash_key=hash_key)


IDENTITY = Section(
    "identity",
    {
        **keys_of(
            IdentityPolicy,
            leave_out=("hash_key",),
            sources=_sources,
            trusted_proxies=_proxies,
            proxy_headers=each(_proxy_header),
        ),
        **_HASH_KEY.keys,
    },
    (IdentityPolicy,),
    _identity,
    meanings={
        "sources": "Tried in this order; the first that identifies the caller wins. Each is `trusted_header`, `jwt`, "
        "`api_key` or `client_certificate` with its keys below. The client's address is always the last resort; "
        "`client_address` at the end says so.",
        **_HASH_KEY.meanings,
    },
    exclusive=(_HASH_KEY.pair,),
)
