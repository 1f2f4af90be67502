"""Reads `identity`: who is asking."""

import re
from collections.abc import Callable
from typing import Any

from gateway.config.fields import Fields, section, table_of
from gateway.config.node import Node
from gateway.config.problem import InvalidError
from gateway.config.scalar import Reader, each, header, network, path, text
from gateway.config.secret import pick_secret, secret_keys
from gateway.config.source import Source
from gateway.config.token import POLICY_KEYS
from gateway.limits.address import Network
from gateway.limits.identity import ApiKey, Claim, TrustedHeader
from gateway.settings.identity import IdentityPolicy, Jwt
from gateway.settings.tokens import TokenPolicy

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ADDRESS = "client_address"
_SHORTEST_KEY, _LONGEST_KEY = 16, 64
"""Bytes of a hash key; BLAKE2b takes no more."""


def _digest(node: Node) -> str:
    value = text(node)
    if _SHA256.fullmatch(value) is None:
        raise node.refuse("not a SHA-256 in 64 small hex digits; make it with: printf %s THE-KEY | sha256sum")
    return value


HOLDER_KEYS: dict[str, Reader] = {"sha256": _digest, "user": text, "tier": text}


def _holder(node: Node) -> tuple[str, Claim]:
    fields = Fields(node, HOLDER_KEYS, required=("sha256", "user"))
    return fields.build(lambda sha256, user, tier=None: (sha256, Claim(user, tier)))


def _holders(node: Node) -> dict[str, Claim]:
    holders: dict[str, Claim] = {}
    for digest, claim in each(_holder)(node):
        if digest in holders:
            node.refuse("one key has two users here")
        holders[digest] = claim
    return holders


def _holders_file(node: Node) -> dict[str, Claim]:
    source = Source.of(path(node), node.source.log)
    return _holders(Node(source, source.compose()))


API_KEY_KEYS: dict[str, Reader] = {"header": header, "keys": _holders, "keys_file": _holders_file}


def _api_key(node: Node) -> ApiKey:
    fields = Fields(node, API_KEY_KEYS)
    if "keys" not in fields and "keys_file" not in fields:
        raise node.refuse("there are no API keys here; write 'keys' or 'keys_file'")
    listed, filed = fields.values.pop("keys", {}), fields.values.pop("keys_file", {})
    if listed.keys() & filed.keys():
        raise fields.at("keys").refuse("a key stands both here and in 'keys_file'")
    return fields.build(ApiKey, holders=listed | filed)


JWT_KEYS: dict[str, Reader] = {**table_of(Jwt, leave_out=("policy",), header=header), **POLICY_KEYS}


def _jwt(node: Node) -> Jwt:
    fields = Fields(node, JWT_KEYS, required=("keys",))
    policy = {key: fields.values.pop(key) for key in POLICY_KEYS if key in fields.values}
    if "keys" not in policy:
        raise InvalidError
    return Jwt(TokenPolicy(**policy), **fields.values)


HEADER_KEYS = table_of(TrustedHeader, header=header, tier_header=header)
SOURCES: dict[str, Callable[[Node], Any]] = {
    "jwt": _jwt,
    "trusted_header": section(TrustedHeader, HEADER_KEYS, required=("header",)),
    "api_key": _api_key,
}


def _source(node: Node) -> TrustedHeader | Jwt | ApiKey:
    entries = node.entries()
    if len(entries) != 1:
        raise node.refuse(f"a source has one key, its kind: {', '.join(SOURCES)}; or is the word {_ADDRESS}")
    ((kind, (key_node, child)),) = entries.items()
    if kind not in SOURCES:
        raise key_node.refuse(f"there is no such source; there is {', '.join(SOURCES)}", node.nearest(kind, SOURCES))
    source: TrustedHeader | Jwt | ApiKey = SOURCES[kind](child)
    return source


def _sources(node: Node) -> tuple[TrustedHeader | Jwt | ApiKey, ...]:
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
                item.refuse("everybody has an address, so the sources behind this one are never asked; put it last")
            continue
        try:
            sources.append(_source(item))
        except InvalidError:
            continue
    return tuple(sources)


def _proxies(node: Node) -> tuple[Network, ...]:
    networks = each(network)(node)
    for trusted in networks:
        if trusted.prefixlen == 0:
            node.warn(f"{trusted} is everybody: any client can then call itself whom it likes")
    return networks


KEYS: dict[str, Reader] = {
    **table_of(IdentityPolicy, leave_out=("hash_key",), sources=_sources, trusted_proxies=_proxies),
    **secret_keys("hash_key"),
}


def identity(node: Node) -> IdentityPolicy:
    """The section `identity`."""
    fields = Fields(node, KEYS)
    hash_key = pick_secret(fields, "hash_key")
    if hash_key is None:
        return fields.build(IdentityPolicy)
    if not _SHORTEST_KEY <= len(hash_key) <= _LONGEST_KEY:
        fields.at(fields.one_of("hash_key_file", "hash_key_env") or "").refuse(
            f"a hash key is {_SHORTEST_KEY} to {_LONGEST_KEY} bytes long, this one has {len(hash_key)}; "
            "make one with: openssl rand -hex 32"
        )
    return fields.build(IdentityPolicy, hash_key=hash_key)
