"""`SignedTokens`: the verification that callers' tokens and admin tokens share, and a cache of good tokens.

A token is good when all of this holds, and the policy of its kind accepts its claims:

* It is a JWS in compact form (RFC 7515 section 7.1), and each of its parts is canonical base64url (section 2), so that
  a token has only one spelling.
* Header and payload are JSON objects in which no name stands twice (RFC 7515 section 4, RFC 7519 section 4).
* Its ``kid`` names one of our keys, or it has none and there is only one key. ``alg`` is the algorithm of that key
  (RFC 8725 section 3.1). ``crit`` is refused, because no extension is supported (RFC 7515 section 4.1.11); keys that
  the token brings along or points to (``jwk``, ``jku``, ``x5u``) are ignored (RFC 8725 section 3.10).
* The signature is the key's (RFC 7515 section 5.2).
* ``exp`` is there; ``exp``, ``nbf`` and ``iat`` are finite numbers (RFC 7519 section 2), and now lies between them,
  give or take `LEEWAY` (sections 4.1.4 to 4.1.6).

Why a token is refused is logged, and not shown to its sender.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Generic, Literal, TypeVar

from gateway.auth.key_ring import KeyRing, PreparedKey
from gateway.config.strict_json import StrictJsonError, parse_strict_json
from gateway.settings.token_key import TokenKey

LEEWAY = 30.0
"""Seconds by which the clocks of issuer and gateway may differ."""

MAX_CACHED = 1 << 25
"""Characters of all tokens that are remembered. There may be as many as fit, or `capacity` if they are short."""

_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)

Claims = Mapping[str, Any]
Content = TypeVar("Content")


Reason = Literal[
    "too_long",
    "malformed",
    "keys_unavailable",
    "unknown_key",
    "bad_signature",
    "no_expiry",
    "expired",
    "not_yet_valid",
    "wrong_audience",
    "wrong_issuer",
    "lifetime",
]


class TokenRefusedError(Exception):
    """A token is not good. The message says why in our own words, and quotes nothing of the token.

    Attributes:
        reason: The same as one of a few words, to count by.
    """

    def __init__(self, message: str, reason: Reason = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


class SignedTokens(Generic[Content]):
    """Verifies tokens, and remembers good ones until they expire: callers send the same token again and again.

    Args:
        ring: The keys that issuers sign with. When they are replaced, no token is remembered any longer.
        accept: Checks the claims against the policy and the key that signed them, or raises `TokenRefusedError`.
            Returns what to remember.
        clock: Seconds since 1970.
        max_length: Characters of a token at most.
        capacity: Tokens remembered; the oldest is dropped first, and so it is when they are longer than `MAX_CACHED`.
    """

    __slots__ = ("_accept", "_capacity", "_clock", "_good", "_held", "_keys", "_max_length", "_ring")

    def __init__(
        self,
        ring: KeyRing,
        accept: Callable[[Claims, TokenKey], Content],
        clock: Callable[[], float],
        *,
        max_length: int,
        capacity: int,
    ) -> None:
        self._ring = ring
        self._keys = ring.keys
        self._accept = accept
        self._clock = clock
        self._max_length = max_length
        self._capacity = capacity
        # A look-up compares whole strings only where the hashes, which are keyed at random, are equal: how long it
        # takes tells nothing about a token that somebody guesses.
        self._good: OrderedDict[str, tuple[float, Content]] = OrderedDict()
        self._held = 0

    def verify(self, token: str) -> Content:
        """What a good token says.

        Raises:
            TokenRefusedError: it is not good.
        """
        if self._keys is not self._ring.keys:
            self._keys = self._ring.keys
            self._good.clear()
            self._held = 0
        remembered = self._good.get(token)
        if remembered is None:
            remembered = self._good[token] = self._verify(token)
            self._held += len(token)
            while len(self._good) > self._capacity or self._held > MAX_CACHED:
                self._held -= len(self._good.popitem(last=False)[0])
        elif remembered[0] <= self._clock():
            del self._good[token]
            self._held -= len(token)
            raise TokenRefusedError("the token has expired", "expired")
        return remembered[1]

    def _verify(self, token: str) -> tuple[float, Content]:
        if len(token) > self._max_length:
            raise TokenRefusedError(f"the token is longer than {self._max_length} characters", "too_long")
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise TokenRefusedError("the token is not three parts of base64url")
        key = self._key(_object(_decode(parts[1]), "header"))
        signed = token.rpartition(".")[0].encode()
        if not key.algorithm.verify(signed, key.prepared, _decode(parts[3])):
            raise TokenRefusedError("the signature is wrong", "bad_signature")
        claims = _object(_decode(parts[2]), "payload")
        expires = _check_times(claims, self._clock())
        return expires, self._accept(claims, key.setting)

    def _key(self, header: Claims) -> PreparedKey:
        if "crit" in header:
            raise TokenRefusedError("the token requires an extension (crit)")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise TokenRefusedError("kid is not a string")
        key = self._ring.find(kid)
        if key is None:
            if self._ring.is_published and not self._ring.keys:
                raise TokenRefusedError("the keys of the issuer could not be fetched", "keys_unavailable")
            why = "no key has this kid" if kid is not None else "kid is missing, with several keys"
            raise TokenRefusedError(why, "unknown_key")
        if header.get("alg") != key.name:
            raise TokenRefusedError("alg is not the algorithm of the key", "unknown_key")
        return key


def _decode(part: str) -> bytes:
    try:
        content = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (Base64Error, ValueError):
        raise TokenRefusedError("a part is not base64url") from None
    if urlsafe_b64encode(content).rstrip(b"=").decode() != part:
        raise TokenRefusedError("a part is not canonical base64url")
    return content


def _object(content: bytes, part: str) -> Claims:
    try:
        document = parse_strict_json(content)
    except StrictJsonError as error:
        raise TokenRefusedError(f"the {part} is not strict JSON: {error}") from None
    if not isinstance(document, dict):
        raise TokenRefusedError(f"the {part} is not a JSON object")
    return document


def _check_times(claims: Claims, now: float) -> float:
    """Check the times of a token. Returns when it ceases to be good, in seconds since 1970."""
    if "exp" not in claims:
        raise TokenRefusedError("exp is missing", "no_expiry")
    expires = numeric_date(claims, "exp") + LEEWAY
    if expires <= now:
        raise TokenRefusedError("the token has expired", "expired")
    if any(name in claims and numeric_date(claims, name) - LEEWAY > now for name in ("iat", "nbf")):
        raise TokenRefusedError("the token is not valid yet", "not_yet_valid")
    return expires


def numeric_date(claims: Claims, name: str) -> float:
    """A claim in seconds since 1970.

    Raises:
        TokenRefusedError: it is not a finite number.
    """
    value = claims[name]
    try:
        if type(value) in {int, float} and isfinite(seconds := float(value)):
            return seconds
    except OverflowError:  # an integer of 400 digits
        pass
    raise TokenRefusedError(f"{name} is not a number of seconds")
