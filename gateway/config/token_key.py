"""Reads which JSON Web Tokens are accepted: keys, audience, issuer."""

from dataclasses import replace
from typing import Any, get_args

import jwt

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.jwks import jwks_section, read_key_set_file
from gateway.config.location import file, path
from gateway.config.node import Node
from gateway.config.number import seconds
from gateway.config.reader import Reader, reads, scalar
from gateway.config.scalar import choice, each, text
from gateway.config.secret import Secret
from gateway.config.section import Section, keys_of
from gateway.settings.control import AdminPolicy
from gateway.settings.token_key import Algorithm, Jwks, ScopeName, TokenKey, TokenPolicy

_MIN_SECRET_LENGTH = 32
_MAX_LENGTH = 65_536
"""Bytes of a key that are read."""

_SECRET = Secret("secret", f"the shared secret of HS256, at least {_MIN_SECRET_LENGTH} bytes")


@reads("file", scalar())
def _public_key(node: Node) -> bytes:
    with file(node).open("rb") as stream:
        return stream.read(_MAX_LENGTH)


def _key(entries: Entries) -> TokenKey:
    """A shared secret for HS256, a public key in PEM for the other algorithms."""
    algorithm = entries.values.get("algorithm")
    secret = _SECRET.pick(entries)
    public_key = entries.values.pop("public_key_file", None)
    source = entries.one_of(*_SECRET.pair, "public_key_file")
    if algorithm is None:
        raise InvalidError
    wanted = _SECRET.pair if algorithm == "HS256" else ("public_key_file",)
    if source is None or source not in wanted:
        raise entries.at(source or "algorithm").refuse(f"a key for {algorithm} is given by {' or '.join(wanted)}")
    key = secret if algorithm == "HS256" else public_key
    if key is None:
        raise InvalidError
    node = entries.at(source)
    if why := _problem(algorithm, key):
        raise node.refuse(why)
    return entries.build(TokenKey, key=key, file=path(node) if source.endswith("_file") else None)


def _problem(algorithm: str, key: bytes) -> str:
    """Why a key is not for its algorithm, or too weak for it (RFC 7518 section 3.3); empty if it can be used."""
    if algorithm == "HS256":
        if len(key) >= _MIN_SECRET_LENGTH:
            return ""
        return (
            f"a secret for HS256 is at least {_MIN_SECRET_LENGTH} bytes long, this one has {len(key)}; "
            "make one with: openssl rand -hex 32"
        )
    if b"PRIVATE KEY-----" in key:
        return "this is a private key; the gateway only needs the public one, so keep this one elsewhere"
    if b"-----BEGIN " not in key or b"PUBLIC KEY-----" not in key:
        return "this is not a public key in PEM: a file that starts with -----BEGIN PUBLIC KEY-----"
    wanted = jwt.get_algorithm_by_name(algorithm)
    try:
        weakness = wanted.check_key_length(wanted.prepare_key(key))
    except (jwt.InvalidKeyError, ValueError, TypeError):
        return f"this is not a key for {algorithm}"
    return f"this key is too short for {algorithm}; make another with: gateway token keygen" if weakness else ""


def read_again(key: TokenKey) -> TokenKey:
    """A key as its file has it now. Blocks.

    Raises:
        OSError: the file cannot be read.
        ValueError: what it holds cannot be used; the message says why.
    """
    if key.file is None:
        return key
    with key.file.open("rb") as opened:
        content = opened.read(_MAX_LENGTH)
    if key.algorithm == "HS256":
        content = content.rstrip(b"\r\n")
    if why := _problem(key.algorithm, content):
        raise ValueError(why)
    return replace(key, key=content)


def _section(path: str, **more: Reader[Any]) -> Section[TokenKey]:
    return Section(
        path,
        {
            "kid": text,
            "algorithm": choice(*get_args(Algorithm)),
            **_SECRET.keys,
            "public_key_file": _public_key,
            **more,
        },
        (TokenKey,),
        _key,
        required=("algorithm",),
        about="A list of the keys that a token may be signed with. The key fixes the algorithm; what a token's header "
        "claims is ignored.",
        meanings={
            **_SECRET.meanings,
            "public_key_file": "A file that holds the public key of the other algorithms, in PEM.",
        },
        exclusive=(_SECRET.pair, ("secret_file", "public_key_file"), ("secret_env", "public_key_file")),
    )


KEY = _section("identity.sources.jwt.keys")
ADMIN_KEY = _section("control.admin.keys", scopes=each(choice(*get_args(ScopeName)), least=1), longest=seconds())


@reads("list of sections", {"type": "array", "items": KEY, "minItems": 1})
def token_keys(node: Node) -> tuple[TokenKey, ...]:
    """The keys, each with its own `kid` unless there is only one."""
    return _with_kids(node, KEY)


@reads("list of sections", {"type": "array", "items": ADMIN_KEY, "minItems": 1})
def _admin_keys(node: Node) -> tuple[TokenKey, ...]:
    return _with_kids(node, ADMIN_KEY)


def _with_kids(node: Node, section: Section[TokenKey]) -> tuple[TokenKey, ...]:
    keys = each(section, least=1)(node)
    kids = [key.kid for key in keys]
    if len(keys) > 1 and None in kids:
        node.refuse("with more than one key, each needs a 'kid' that tokens select it by")
    elif len(kids) != len(set(kids)):
        node.refuse("two keys have the same 'kid'")
    return keys


_names = each(text, least=1)


@reads("text or list of texts", {"anyOf": [text, _names]}, show=", ".join)
def _audiences(node: Node) -> tuple[str, ...]:
    """One audience, or several of which a token has to have one."""
    return _names(node) if node.is_list else (text(node),)


POLICY_KEYS = keys_of(TokenPolicy, keys=token_keys, audience=_audiences, jwks=jwks_section("identity.sources.jwt.jwks"))
KEY_SOURCES = ("keys", "jwks")
"""Of these, a policy needs one."""


def pick_policy(entries: Entries) -> TokenPolicy:
    """The keys of `TokenPolicy`, taken out of the values read.

    Raises:
        InvalidError: there are no keys.
    """
    policy = {key: entries.values.pop(key) for key in POLICY_KEYS if key in entries.values}
    source = entries.one_of(*KEY_SOURCES)
    if not any(key in entries for key in KEY_SOURCES):
        entries.node.refuse("there are no keys here; write 'keys' or 'jwks'")
    if source is None or source not in policy:
        raise InvalidError
    jwks: Jwks | None = policy.get("jwks")
    if jwks is not None and jwks.file is not None:
        policy["keys"] = read_key_set_file(entries.at("jwks"), jwks.file, jwks.algorithms)
    return TokenPolicy(**policy)


def _admin(entries: Entries) -> AdminPolicy:
    """A token has to be meant for this gateway: `audience` and `issuer` are required."""
    policy = pick_policy(entries)
    if not policy.audience or policy.issuer is None:
        raise InvalidError
    return AdminPolicy(policy, **entries.values)


ADMIN = Section(
    "control.admin",
    {
        **keys_of(AdminPolicy, leave_out=("tokens",)),
        **POLICY_KEYS,
        "keys": _admin_keys,
        "jwks": jwks_section("control.admin.jwks"),
    },
    (AdminPolicy, TokenPolicy),
    _admin,
    required=("audience", "issuer"),
    meanings={
        "audience": "What a token's `aud` must be; one of several if it is a list.",
        "issuer": "What a token's `iss` must be.",
    },
    exclusive=(KEY_SOURCES,),
    one_of=KEY_SOURCES,
)
