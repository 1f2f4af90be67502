"""Which tokens are good, and that nothing a token says of itself makes it so."""

import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from itertools import count
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.auth.verifier import Verifier
from gateway.settings.tokens import TokenKey, TokenPolicy

SECRET = b"0123456789abcdef0123456789abcdef"
NOW = time.time()


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ana", "exp": time.time() + 60, **more}


def signed(payload: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers=headers)


def hs256(kid: str | None = None, **more: Any) -> Verifier:
    return Verifier(TokenPolicy((TokenKey("HS256", SECRET, kid),), **more))


def pair(algorithm: str) -> tuple[bytes, bytes]:
    private: Any = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }[algorithm]()
    return (
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def test_a_good_token_has_its_claims() -> None:
    found = hs256()(signed(claims(plan="gold")))
    assert found is not None
    assert (found["sub"], found["plan"]) == ("ana", "gold")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_public_keys_verify(algorithm: Any) -> None:
    private, public = pair(algorithm)
    verifier = Verifier(TokenPolicy((TokenKey(algorithm, public),)))
    assert verifier(signed(claims(), private, algorithm)) is not None
    assert verifier(signed(claims(), pair(algorithm)[0], algorithm)) is None


def test_a_public_key_is_no_shared_secret() -> None:
    _, public = pair("RS256")
    head, body, _ = signed(claims()).split(".")
    verifier = Verifier(TokenPolicy((TokenKey("RS256", public),)))
    forged = urlsafe_b64encode(hmac.digest(public, f"{head}.{body}".encode(), "sha256")).rstrip(b"=").decode()
    assert verifier(f"{head}.{body}.{forged}") is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        signed(claims(), b"another secret of 32 bytes or so"),
        signed(claims()) + "x",
        signed(claims())[:-4],
        signed(claims()).rsplit(".", 1)[0] + ".",
        jwt.encode(claims(), "", algorithm="none"),
        signed(claims(), SECRET + SECRET, "HS512"),
        signed({"sub": "ana"}),
        signed(claims(exp=NOW - 60)),
        signed(claims(exp="soon")),
        signed(claims(nbf=NOW + 86_400)),
        signed(claims(pad="x" * 9000)),
        signed(claims(), kid="unknown"),
    ],
    ids=str.split(
        "empty word dots other_secret longer shorter unsigned none other_algorithm no_expiry expired odd_expiry "
        "not_yet huge unknown_key"
    ),
)
def test_any_other_token_is_refused(token: str) -> None:
    assert hs256()(token) is None


def test_clocks_may_differ_by_half_a_minute() -> None:
    assert hs256()(signed(claims(exp=time.time() - 20))) is not None


def test_audience_and_issuer_are_checked_when_they_are_set() -> None:
    verifier = hs256(audience="api", issuer="https://id.test")
    assert verifier(signed(claims(aud="api", iss="https://id.test"))) is not None
    assert verifier(signed(claims(aud="other", iss="https://id.test"))) is None
    assert verifier(signed(claims(aud="api", iss="https://evil.test"))) is None
    assert verifier(signed(claims())) is None


def test_keys_are_picked_by_their_id() -> None:
    old, new = b"o" * 32, b"n" * 32
    verifier = Verifier(TokenPolicy((TokenKey("HS256", old, "old"), TokenKey("HS256", new, "new"))))
    assert verifier(signed(claims(), old, kid="old")) is not None
    assert verifier(signed(claims(), new, kid="new")) is not None
    assert verifier(signed(claims(), old, kid="new")) is None
    assert verifier(signed(claims(), old)) is None


def test_a_remembered_token_still_expires() -> None:
    now = time.time()
    ticks: Iterator[float] = (now + step for step in count(0, 50))
    verifier = Verifier(TokenPolicy((TokenKey("HS256", SECRET),)), clock=lambda: next(ticks))
    token = signed(claims())
    answers = [verifier(token) is not None for _ in range(3)]
    assert answers == [True, True, False]


def test_no_more_tokens_are_remembered_than_fit() -> None:
    verifier = hs256()
    for number in range(4200):
        assert verifier(signed(claims(n=number))) is not None
    assert len(verifier._tokens._good) == 4096
