"""Reads which JWTs are good: keys, audience, issuer."""

import jwt

from gateway.config.fields import Fields, table_of
from gateway.config.node import Node
from gateway.config.problem import InvalidError
from gateway.config.scalar import Reader, choice, each, file, text
from gateway.config.secret import pick_secret, secret_keys
from gateway.settings.control import AdminPolicy
from gateway.settings.tokens import TokenKey, TokenPolicy

_SHORTEST_SECRET = 32
_LONGEST_PEM = 65_536


def token_key(node: Node) -> TokenKey:
    """One key: a shared secret for HS256, a public key in PEM for the others."""
    fields = Fields(node, KEY_KEYS, required=("algorithm",))
    algorithm = fields.values.get("algorithm")
    secret = pick_secret(fields, "secret")
    public_key = fields.values.pop("public_key_file", None)
    source = fields.one_of("secret_file", "secret_env", "public_key_file")
    if algorithm is None:
        raise InvalidError
    wanted = ("secret_file", "secret_env") if algorithm == "HS256" else ("public_key_file",)
    if source is None or source not in wanted:
        raise fields.at(source or "algorithm").refuse(f"a key for {algorithm} is given by {' or '.join(wanted)}")
    key = secret if algorithm == "HS256" else public_key
    if key is None:
        raise InvalidError
    if algorithm == "HS256" and len(key) < _SHORTEST_SECRET:
        raise fields.at(source).refuse(
            f"a secret for HS256 is at least {_SHORTEST_SECRET} bytes long, this one has {len(key)}; "
            "make one with: openssl rand -hex 32"
        )
    _check_kind(fields.at(source), algorithm, key)
    return fields.build(TokenKey, key=key)


def _check_kind(node: Node, algorithm: str, key: bytes) -> None:
    """Refuse a key that is not for its algorithm, or too weak for it (RFC 7518 section 3.3), before anybody signs."""
    wanted = jwt.get_algorithm_by_name(algorithm)
    try:
        weakness = wanted.check_key_length(wanted.prepare_key(key))
    except (jwt.InvalidKeyError, ValueError, TypeError):
        raise node.refuse(f"this is not a key for {algorithm}") from None
    if weakness:
        raise node.refuse(f"this key is too short for {algorithm}; make another with: gateway token keygen")


def _public_key(node: Node) -> bytes:
    with file(node).open("rb") as stream:
        key = stream.read(_LONGEST_PEM)
    if b"PRIVATE KEY-----" in key:
        raise node.refuse("this is a private key; the gateway only needs the public one, so keep this one elsewhere")
    if b"-----BEGIN " not in key or b"PUBLIC KEY-----" not in key:
        raise node.refuse("this is not a public key in PEM: a file that starts with -----BEGIN PUBLIC KEY-----")
    return key


def token_keys(node: Node) -> tuple[TokenKey, ...]:
    """The keys, each of its own `kid` unless there is only one."""
    keys: tuple[TokenKey, ...] = each(token_key, least=1)(node)
    kids = [key.kid for key in keys]
    if len(keys) > 1 and None in kids:
        node.refuse("with more than one key, each needs a 'kid' that tokens name it by")
    elif len(kids) != len(set(kids)):
        node.refuse("two keys have the same 'kid'")
    return keys


KEY_KEYS: dict[str, Reader] = {
    "kid": text,
    "algorithm": choice("HS256", "RS256", "ES256", "EdDSA"),
    **secret_keys("secret"),
    "public_key_file": _public_key,
}
POLICY_KEYS = table_of(TokenPolicy, keys=token_keys)


ADMIN_KEYS: dict[str, Reader] = {**table_of(AdminPolicy, leave_out=("tokens",)), **POLICY_KEYS}


def admin_policy(node: Node) -> AdminPolicy:
    """A mapping of `keys`, and more. A token has to be meant for us: `audience` and `issuer` have to be there."""
    fields = Fields(node, ADMIN_KEYS, required=("keys", "audience", "issuer"))
    policy = {key: fields.values.pop(key) for key in POLICY_KEYS if key in fields.values}
    if len(policy) < len(POLICY_KEYS):
        raise InvalidError
    return AdminPolicy(TokenPolicy(**policy), **fields.values)
