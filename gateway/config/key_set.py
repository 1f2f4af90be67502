"""Reads a JSON Web Key Set (RFC 7517 section 5), and says which of its keys are used.

Each key is used with one algorithm: its ``alg``, or else the first of the operator's list that fits its type. A token
never chooses. Keys that are for something else than signatures (``use``, ``key_ops``) are passed over. Refused, one by
one, so that an issuer's mistake does not cost its other keys:

* shared secrets (``oct``) and private keys, which nobody should publish;
* RSA keys of fewer than 2048 bits (RFC 7518 section 3.3), or more than 8192, which take long to verify;
* keys that no algorithm of the list fits, or that are not valid;
* keys without a ``kid`` beside others, because no token could select them.

A set is refused as a whole if no key remains, if it has too many, or if two keys have the same ``kid``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from gateway.config.strict_json import StrictJsonError, parse_strict_json
from gateway.settings.token_key import Algorithm, TokenKey

MAX_SIZE = 512 * 1024
"""Bytes of a key set at most: a hundred keys with their certificates."""

_MAX_KEYS = 100
_MAX_KID = 256
_RSA_BITS = range(2048, 8193)
_FITTING: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""The algorithms that fit a key, by its ``kty`` and ``crv`` (RFC 7518 sections 3.1 and 6.2.1.1, RFC 8037)."""


class KeySetError(ValueError):
    """A key set cannot be used. The message says why."""


class _KeyRefusedError(Exception):
    """A key of a set cannot be used."""


class KeySet(NamedTuple):
    """What can be used of a key set.

    Attributes:
        keys: The keys, in the order of the set.
        refused: Which others are not used, and why.
    """

    keys: tuple[TokenKey, ...]
    refused: tuple[str, ...]


def parse_key_set(content: bytes, algorithms: Sequence[Algorithm]) -> KeySet:
    """Read a key set.

    Args:
        content: The document.
        algorithms: Those that keys may be used with.

    Raises:
        KeySetError: it cannot be used.
    """
    keys: list[TokenKey] = []
    refused: list[str] = []
    for number, jwk in enumerate(_members(content), 1):
        try:
            key = _read(jwk, algorithms)
            if key is not None:
                keys.append(key)
        except _KeyRefusedError as error:
            refused.append(f"key {number} {error}")
    if len(keys) > 1 and any(key.kid is None for key in keys):
        keys = [key for key in keys if key.kid is not None]
        refused.append("a key without a kid is one of several keys")
    if not keys:
        raise KeySetError("; ".join(["there is no key that verifies signatures", *refused]))
    if len({key.kid for key in keys}) < len(keys):
        raise KeySetError("two keys have the same kid")
    return KeySet(tuple(keys), tuple(refused))


def _members(content: bytes) -> Sequence[object]:
    if len(content) > MAX_SIZE:
        raise KeySetError(f"it is larger than {MAX_SIZE // 1024} KiB")
    try:
        document = parse_strict_json(content)
    except StrictJsonError as error:
        raise KeySetError(f"it is not strict JSON: {error}") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise KeySetError('it is not a key set: a JSON object with a list called "keys"')
    if len(keys) > _MAX_KEYS:
        raise KeySetError(f"it has more than {_MAX_KEYS} keys")
    return keys


def _read(jwk: object, algorithms: Sequence[Algorithm]) -> TokenKey | None:
    """A key; None if it is not for signatures."""
    if not isinstance(jwk, dict):
        raise _KeyRefusedError("is not a JSON object")
    if not _verifies(jwk):
        return None
    kid = jwk.get("kid")
    if kid is not None and not (isinstance(kid, str) and kid.isprintable() and 0 < len(kid) <= _MAX_KID):
        raise _KeyRefusedError(f"has a kid that is not a printable text of at most {_MAX_KID} characters")
    try:
        return _token_key(jwk, kid, algorithms)
    except _KeyRefusedError as error:
        raise _KeyRefusedError(f"({kid}) {error}" if kid else str(error)) from None


def _verifies(jwk: Mapping[str, Any]) -> bool:
    """Whether a key is for signatures (RFC 7517 sections 4.2 and 4.3)."""
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _token_key(jwk: Mapping[str, Any], kid: str | None, algorithms: Sequence[Algorithm]) -> TokenKey:
    kty, crv = jwk.get("kty"), jwk.get("crv")
    if kty == "oct":
        raise _KeyRefusedError("is a shared secret, which everybody knows who can read this set")
    if "d" in jwk:
        raise _KeyRefusedError("is a private key, which everybody knows who can read this set")
    fitting = _FITTING.get((kty, crv), ()) if isinstance(kty, str) and isinstance(crv, str | None) else ()
    algorithm = next((each for each in algorithms if each in fitting and jwk.get("alg", each) == each), None)
    if algorithm is None:
        raise _KeyRefusedError(f"fits none of the algorithms {', '.join(algorithms)}")
    try:
        key = PyJWK(dict(jwk), algorithm).key
        if isinstance(key, RSAPublicKey) and key.key_size not in _RSA_BITS:
            raise _KeyRefusedError(f"has {key.key_size} bits, and not {_RSA_BITS.start} to {_RSA_BITS.stop - 1}")
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise _KeyRefusedError(f"is not a valid key for {algorithm}") from None
    return TokenKey(algorithm, pem, kid)
