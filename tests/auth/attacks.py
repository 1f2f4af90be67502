"""Tokens that are not good, each with the reason why. A row is made when it is used, for most hold the time."""

import hmac
import json
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from gateway.settings.token_key import Algorithm
from tests.auth.keys import claims, pair, part, signed, token

YEARS = 10 * 366 * 86_400
HS256 = {"alg": "HS256", "typ": "JWT"}


def now() -> int:
    return int(time.time())


def unsigned(alg: Any, signature: str = "") -> str:
    return f"{part({'alg': alg})}.{part(claims())}.{signature}"


def confused(algorithm: Algorithm, form: Callable[[bytes], bytes] = bytes) -> str:
    """Signed with HMAC by a public key, as if it were a shared secret."""
    text = f"{part(HS256)}.{part(claims())}"
    key = form(pair(algorithm).verifying)
    return f"{text}.{part(hmac.digest(key, text.encode(), 'sha256'))}"


def der(pem: bytes) -> bytes:
    return b64decode(b"".join(pem.splitlines()[1:-1]))


def header(**more: Any) -> str:
    """A true signature under a header that asks for something else."""
    return signed(claims(), HS256 | more)


def by_stranger(**more: Any) -> str:
    return signed(claims(), {"alg": "HS256"} | more, pair("HS256", 1).signing)


def with_empty_key(**more: Any) -> str:
    text = f"{part(HS256 | more)}.{part(claims())}"
    return f"{text}.{part(hmac.digest(b'', text.encode(), 'sha256'))}"


def said_twice(name: str, value: Any) -> str:
    payload = json.dumps(claims())
    return signed(f'{payload[:-1]}, "{name}": {json.dumps(value)}}}'.encode(), HS256)


def other_last_letter() -> str:
    """The same signature in another spelling: the last letter of base64url has bits that nobody reads."""
    good = token()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return good[:-1] + letters[letters.index(good[-1]) + 1]


def cut(good: str) -> str:
    return good.rpartition(".")[0]


ATTACKS: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "no token": lambda: "x",
    "three empty parts": lambda: "..",
    # What a token says of its algorithm is not asked.
    "alg none": lambda: unsigned("none"),
    "alg None": lambda: unsigned("None"),
    "alg nOnE": lambda: unsigned("nOnE"),
    "alg none with a signature": lambda: unsigned("none", token().rpartition(".")[2]),
    "alg missing": lambda: signed(claims(), {"typ": "JWT"}),
    "alg a list": lambda: signed(claims(), {"alg": ["HS256"]}),
    "alg null": lambda: signed(claims(), {"alg": None}),
    "alg in small letters": lambda: signed(claims(), {"alg": "hs256"}),
    "alg of another key": lambda: signed(claims(), {"alg": "RS256"}),
    "signed with the public RSA key": lambda: confused("RS256"),
    "signed with the public EC key": lambda: confused("ES256"),
    "signed with the public EC key in DER": lambda: confused("ES256", der),
    "signed with the public EdDSA key": lambda: confused("EdDSA"),
    "signed with an empty key": with_empty_key,
    # Signatures.
    "signature empty": lambda: cut(token()) + ".",
    "signature missing": lambda: cut(token()),
    "signature cut short": lambda: token()[:-4],
    "signature longer": lambda: token() + "AAAA",
    "signature of another token": lambda: cut(token()) + "." + token().rpartition(".")[2],
    "signature in another spelling": other_last_letter,
    "padded": lambda: token() + "=",
    "two tokens": lambda: token() + "." + token(),
    "encrypted": lambda: f"{part({'alg': 'dir', 'enc': 'A256GCM'})}..{part(b'iv')}.{part(b'text')}.{part(b'tag')}",
    "by a stranger": by_stranger,
    # Keys are looked up in what we have, whatever the header says.
    "kid wrong": lambda: header(kid="other"),
    "kid a path": lambda: with_empty_key(kid="../../../../dev/null"),
    "kid a path, signed well": lambda: header(kid="../../../../dev/null"),
    "kid SQL": lambda: header(kid="x' UNION SELECT 'k"),
    "kid a number": lambda: header(kid=0),
    "kid a list": lambda: header(kid=["k"]),
    "kid empty": lambda: header(kid=""),
    "kid huge": lambda: header(kid="A" * 100_000),
    "its own key": lambda: by_stranger(jwk={"kty": "oct", "k": part(pair("HS256", 1).verifying)}),
    "its own key elsewhere": lambda: by_stranger(x5u="http://127.0.0.1:9/c.pem", jku="http://127.0.0.1:9/k"),
    "crit": lambda: header(crit=["b64"], b64=False),
    "crit unknown": lambda: header(crit=["exp"]),
    # Time.
    "expired": lambda: token(exp=now() - 61, iat=now() - 120),
    "expired in the last century": lambda: token(exp=-1),
    "expires before it is issued": lambda: token(exp=now() + 10, iat=now() + 20),
    "no exp": lambda: token(exp=None),
    "exp in ten years": lambda: token(exp=now() + YEARS),
    "exp a text": lambda: token(exp=str(now() + 300)),
    "exp true": lambda: token(exp=True),
    "exp a list": lambda: token(exp=[now() + 300]),
    "exp null": lambda: signed(claims() | {"exp": None}, HS256),
    "exp NaN": lambda: token(exp=float("nan")),
    "exp infinite": lambda: token(exp=float("inf")),
    "exp beyond doubles": lambda: signed(
        json.dumps(claims()).replace('"exp": ', '"exp": 1e999, "e": ').encode(), HS256
    ),
    "exp of 400 digits": lambda: token(exp=int("9" * 400)),
    "exp of 3000 digits": lambda: token(exp=int("9" * 3000)),
    "not valid yet": lambda: token(nbf=now() + 120),
    "nbf a text": lambda: token(nbf="soon"),
    "issued in the future": lambda: token(iat=now() + 3600, exp=now() + 3900),
    "no iat": lambda: token(iat=None),
    # Whom it is from and for.
    "aud of another service": lambda: token(aud="other"),
    "aud with a tail": lambda: token(aud="gateway.test/"),
    "aud a list": lambda: token(aud=["gateway.test", "other"]),
    "no aud": lambda: token(aud=None),
    "iss of another": lambda: token(iss="https://evil.test"),
    "iss cut short": lambda: token(iss="https://issuer.tes"),
    "iss a list": lambda: token(iss=["https://issuer.test"]),
    "no iss": lambda: token(iss=None),
    "no sub": lambda: token(sub=None),
    "sub a number": lambda: token(sub=123),
    "sub a list": lambda: token(sub=["ana"]),
    "sub empty": lambda: token(sub=""),
    "sub with a line break": lambda: token(sub="ana\nbob"),
    "no jti": lambda: token(jti=None),
    "jti a list": lambda: token(jti=["1"]),
    "scope a list": lambda: signed(claims() | {"scope": ["limits:write"]}, HS256),
    "scope an object": lambda: signed(claims() | {"scope": {"limits:write": True}}, HS256),
    # What two readers could read in two ways.
    "exp twice": lambda: said_twice("exp", now() + 300),
    "scope twice": lambda: said_twice("scope", "reload"),
    "alg twice": lambda: signed(claims(), b'{"alg": "none", "alg": "HS256"}'),
    "payload a list": lambda: signed(b"[1,2,3]", HS256),
    "payload no JSON": lambda: signed(b"{", HS256),
    "payload not UTF-8": lambda: signed(b'{"sub": "\xff"}', HS256),
    "payload with half a surrogate pair": lambda: token(sub="\ud800"),
    "payload nested deeply": lambda: signed(b"[" * 2900, HS256),
    "payload nested too deeply to be read": lambda: signed(b"[" * 100_000, HS256),
    "header a list": lambda: signed(claims(), b'["HS256"]'),
    "header nested deeply": lambda: signed(claims(), b"[" * 2000),
    "huge": lambda: token(pad="x" * 1_000_000),
}
