"""Keys of every kind, and tokens that say what a test wants them to say."""

import json
import time
from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, get_args
from uuid import uuid4

import jwt

from gateway.auth.signing import SigningKey, make_key, read_key
from gateway.settings.control import AdminPolicy
from gateway.settings.token_key import Algorithm, TokenKey, TokenPolicy

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
AUDIENCE, ISSUER = "gateway.test", "https://issuer.test"


class Pair(NamedTuple):
    """What signs, and what verifies."""

    signing: SigningKey
    verifying: bytes

    def token_key(self, kid: str | None = None) -> TokenKey:
        return TokenKey(self.signing.algorithm, self.verifying, kid)


def new_pair(algorithm: Algorithm) -> Pair:
    with TemporaryDirectory() as folder:
        files = make_key(algorithm, Path(folder) / "key")
        return Pair(read_key(files.private), (files.public or files.private).read_bytes().rstrip(b"\n"))


@cache
def pair(algorithm: Algorithm = "HS256", _number: int = 0) -> Pair:
    """Made once a run. RSA keys take their time, so there is one for all algorithms that it can be used with."""
    if (algorithm[1:] in {"S384", "S512"} and algorithm[0] in "RP") or algorithm == "PS256":
        made = pair("RS256", _number) if _number else pair("RS256")
        signing = made.signing.used_with(algorithm)
        assert signing is not None
        return Pair(signing, made.verifying)
    return new_pair(algorithm)


def policy(*keys: TokenKey, max_lifetime: float = 3600.0) -> AdminPolicy:
    return AdminPolicy(TokenPolicy(keys or (pair().token_key(),), (AUDIENCE,), ISSUER), max_lifetime)


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a good token; one that is None in `more` is left out. It outlives a long run of all tests."""
    now = int(time.time())
    said = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ana", "jti": str(uuid4()),
        "iat": now, "exp": now + 3000, "scope": "limits:write",
    }  # fmt: skip
    return {name: value for name, value in (said | more).items() if value is not None}


def part(content: bytes | dict[str, Any]) -> str:
    """A part of a token. `bytes` are taken as they are."""
    if isinstance(content, dict):
        content = json.dumps(content).encode()
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(payload: bytes | dict[str, Any], header: bytes | dict[str, Any], key: SigningKey | None = None) -> str:
    """A token with a true signature over whatever its parts are."""
    key = key or pair().signing
    text = f"{part(header)}.{part(payload)}"
    algorithm = jwt.get_algorithm_by_name(key.algorithm)
    return f"{text}.{part(algorithm.sign(text.encode(), algorithm.prepare_key(key.key)))}"


def token(
    scope: str | None = "limits:write", key: SigningKey | None = None, kid: str | None = None, **more: Any
) -> str:
    """A good token, but for what `more` says."""
    key = key or pair().signing
    header = {"alg": key.algorithm, "typ": "JWT"} | ({"kid": kid} if kid else {})
    return signed(claims(scope=scope, **more), header, key)
