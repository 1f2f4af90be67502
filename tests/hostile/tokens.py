"""A second opinion on tokens, from the RFCs and `cryptography` alone: whether one may be good for anything."""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.settings.token_key import TokenKey
from tests.auth.keys import AUDIENCE, ISSUER

SKEW = 30
Keys = Mapping[str | None, TokenKey]


class BadTokenError(ValueError):
    """No reader may take it."""


def callers_claims(token: str, keys: Keys, now: float) -> Mapping[str, Any]:
    """What a token for callers says: RFC 7515 and 7519, and our audience and issuer."""
    header, claims = _read(token, keys, dict)
    if "crit" in header and (header["crit"] != ["b64"] or header.get("b64") is not True):
        raise BadTokenError("crit")
    audience = claims.get("aud")
    if AUDIENCE not in ([audience] if isinstance(audience, str) else audience or []) or claims.get("iss") != ISSUER:
        raise BadTokenError("for another")
    if _number(claims["exp"]) + SKEW <= now:
        raise BadTokenError("expired")
    if any(_number(claims.get(name, 0)) - SKEW > now for name in ("nbf", "iat")):
        raise BadTokenError("too early")
    return claims


def operators_claims(token: str, keys: Keys, now: float, longest: float) -> Mapping[str, Any]:
    """What a token for operators says: every member of one type, once, and no two spellings."""
    header, claims = _read(token, keys, _once)
    if "crit" in header or any(part != _text(_bytes(part)) for part in token.split(".")):
        raise BadTokenError("crit, or another spelling")
    instants = [claims[name] for name in ("iat", "exp", "nbf") if name in claims or name != "nbf"]
    names = [claims[name] for name in ("aud", "iss", "sub", "jti")]
    if any(type(each) not in {int, float} for each in instants) or any(type(each) is not str for each in names):
        raise BadTokenError("types")
    if not isinstance(claims.get("scope", ""), str) or names[:2] != [AUDIENCE, ISSUER]:
        raise BadTokenError("for another")
    issued, expires = instants[:2]
    if not (0 < expires - issued <= longest and expires > now - SKEW and issued < now + SKEW):
        raise BadTokenError("time")
    if instants[2:] and instants[2] > now + SKEW:
        raise BadTokenError("too early")
    return claims


def _read(token: str, keys: Keys, pairs: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        signed, _, signature = token.rpartition(".")
        head, payload = signed.split(".")
        header = json.loads(_bytes(head), object_pairs_hook=pairs)
        kid = header.get("kid")
        key = keys[kid] if kid is not None or len(keys) > 1 else next(iter(keys.values()))
        if header["alg"] != key.algorithm:
            raise BadTokenError("another algorithm")
        _check(key, signed.encode("ascii"), _bytes(signature))
        claims = json.loads(_bytes(payload), object_pairs_hook=pairs)
        claims["exp"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidSignature) as error:
        raise BadTokenError(str(error)) from error
    return header, claims


def _check(key: TokenKey, signed: bytes, signature: bytes) -> None:
    if key.algorithm == "HS256":
        if not hmac.compare_digest(hmac.digest(key.key, signed, "sha256"), signature):
            raise InvalidSignature
        return
    public: Any = load_pem_public_key(key.key)
    if key.algorithm == "EdDSA":
        public.verify(signature, signed)
        return
    family, digest = key.algorithm[:2], {"256": SHA256(), "384": SHA384(), "512": SHA512()}[key.algorithm[2:]]
    if family == "RS":
        public.verify(signature, signed, padding.PKCS1v15(), digest)
    elif family == "PS":
        public.verify(signature, signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    else:
        half = {"ES256": 32, "ES384": 48, "ES512": 66}[key.algorithm]
        if len(signature) != 2 * half:
            raise InvalidSignature
        halves = (int.from_bytes(each, "big") for each in (signature[:half], signature[half:]))
        public.verify(encode_dss_signature(*halves), signed, ec.ECDSA(digest))


def _number(value: Any) -> float:
    return value if isinstance(value, int) else float(value)


def _bytes(part: str) -> bytes:
    if re.fullmatch(r"[A-Za-z0-9_-]+", part, re.ASCII) is None:
        raise BadTokenError("alphabet")
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise BadTokenError("twice")
    return dict(pairs)
