"""`AdminVerifier`: reads the tokens that let their bearer change things. Stricter than what identifies a user.

A token is good when all of this holds (RFC 7515, RFC 7519, RFC 8725):

* at most 4 KiB, three parts, each in the one canonical base64url form, so that a token has one spelling;
* strict JSON in both parts, see `document`: an object, no key twice;
* its ``kid`` names one of our keys, or it has none and there is but one key; ``alg`` is that key's own algorithm.
  ``crit`` is refused, for we know no extension; ``jwk``, ``jku``, ``x5u`` and whatever else it says are not asked;
* ``exp``, ``iat``, ``aud``, ``iss``, ``sub`` and ``jti`` are there. ``aud``, ``iss``, ``sub`` and ``jti`` are texts,
  the first two exactly ours: a token for several audiences is good at each of them, so it is not for us;
* ``exp`` and ``iat`` (and ``nbf``, if there) are finite numbers; clocks may differ by `LEEWAY`; and from ``iat`` to
  ``exp`` is no longer than the policy allows;
* ``scope``, if there, is one text, words between blanks (RFC 8693 section 4.2).

Why a token is refused is for our log; the bearer of any of them gets the same answer.
"""

import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, NamedTuple

import jwt

from gateway.auth.grant import Grant
from gateway.auth.strict_json import StrictJsonError, parse_strict_json
from gateway.auth.verifier import LEEWAY
from gateway.settings.control import AdminPolicy

_LONGEST = 4096
_LONGEST_NAME = 256
_REMEMBERED = 1024
_TOKEN = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)


class TokenRefusedError(Exception):
    """A token is not good; the message says why in words of our own, and quotes nothing of it."""


class _Key(NamedTuple):
    """A key, prepared once."""

    name: str
    algorithm: Any
    prepared: Any


class AdminVerifier:
    """Reads tokens, and remembers good ones until they expire: a service that checks limits sends one many times.

    Args:
        policy: Which tokens are good.
        clock: Seconds since 1970.
    """

    __slots__ = ("_clock", "_good", "_keys", "_only", "_policy")

    def __init__(self, policy: AdminPolicy, clock: Callable[[], float] = time.time) -> None:
        self._policy = policy
        self._clock = clock
        keys: dict[str | None, _Key] = {}
        for key in policy.tokens.keys:
            algorithm = jwt.get_algorithm_by_name(key.algorithm)
            keys[key.kid] = _Key(key.algorithm, algorithm, algorithm.prepare_key(key.key))
        self._keys = keys
        self._only = next(iter(keys.values())) if len(keys) == 1 else None
        self._good: OrderedDict[str, Grant] = OrderedDict()

    def read(self, token: str) -> Grant:
        """What a token grants.

        Raises:
            RefusedTokenError: it is not good.
        """
        grant = self._good.get(token)
        if grant is None:
            grant = self._read(token)
            self._good[token] = grant
            if len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)
        elif grant.expires_at + LEEWAY <= self._clock():
            del self._good[token]
            raise TokenRefusedError("it has expired")
        return grant

    def _read(self, token: str) -> Grant:
        if len(token) > _LONGEST:
            raise TokenRefusedError("it is too long")
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise TokenRefusedError("it is not three parts of base64url")
        key = self._key(_object(_decoded(parts[1]), "header"))
        signed = token.rpartition(".")[0].encode()
        if not key.algorithm.verify(signed, key.prepared, _decoded(parts[3])):
            raise TokenRefusedError("its signature is wrong")
        return self._grant(_object(_decoded(parts[2]), "payload"))

    def _key(self, header: Mapping[str, Any]) -> _Key:
        if "crit" in header:
            raise TokenRefusedError("it calls for an extension (crit)")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise TokenRefusedError("its kid is not a text")
        key = self._only if kid is None else self._keys.get(kid)
        if key is None:
            raise TokenRefusedError("no key has its kid" if kid is not None else "it has no kid, and keys are several")
        if header.get("alg") != key.name:
            raise TokenRefusedError("its alg is not its key's")
        return key

    def _grant(self, claims: Mapping[str, Any]) -> Grant:
        tokens = self._policy.tokens
        missing = [name for name in ("exp", "iat", "aud", "iss", "sub", "jti") if name not in claims]
        if missing:
            raise TokenRefusedError(f"it has no {missing[0]}")
        if claims["aud"] != tokens.audience:
            raise TokenRefusedError("its aud is another")
        if claims["iss"] != tokens.issuer:
            raise TokenRefusedError("its iss is another")
        issued, expires = _instant(claims, "iat"), _instant(claims, "exp")
        now = self._clock()
        if expires + LEEWAY <= now:
            raise TokenRefusedError("it has expired")
        if issued - LEEWAY > now or ("nbf" in claims and _instant(claims, "nbf") - LEEWAY > now):
            raise TokenRefusedError("it is not valid yet")
        if not 0 < expires - issued <= self._policy.max_lifetime:
            raise TokenRefusedError("it lives longer than tokens may, or not at all")
        scope = claims.get("scope", "")
        if not isinstance(scope, str):
            raise TokenRefusedError("its scope is not a text")
        return Grant(_name(claims, "sub"), _name(claims, "jti"), frozenset(scope.split(" ")), expires)


def _decoded(part: str) -> bytes:
    try:
        content = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (Base64Error, ValueError):
        raise TokenRefusedError("a part of it is not base64url") from None
    if urlsafe_b64encode(content).rstrip(b"=").decode() != part:
        raise TokenRefusedError("a part of it is not canonical base64url")
    return content


def _object(content: bytes, what: str) -> Mapping[str, Any]:
    try:
        found = parse_strict_json(content)
    except StrictJsonError as error:
        raise TokenRefusedError(f"its {what}: {error}") from None
    if not isinstance(found, dict):
        raise TokenRefusedError(f"its {what} is not an object")
    return found


def _instant(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefusedError(f"its {name} is not a number")
    try:
        instant = float(value)
    except OverflowError:
        instant = float("inf")
    if not isfinite(instant):
        raise TokenRefusedError(f"its {name} is not a number")
    return instant


def _name(claims: Mapping[str, Any], name: str) -> str:
    value = claims[name]
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME or not value.isprintable():
        raise TokenRefusedError(f"its {name} is not a name")
    return value
