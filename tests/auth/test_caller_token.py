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

from gateway.auth.caller_token import Verifier
from gateway.auth.signed_token import MAX_CACHED
from gateway.limits.rejection import REASONS, Rejection
from gateway.settings.token_key import TokenKey, TokenPolicy
from tests.auth.keys import part

LONGEST = 8190
SECRET = b"0123456789abcdef0123456789abcdef"
NOW = time.time()


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a good token, which outlives a long run of all tests: some are made when this file is loaded."""
    return {"iss": "https://id.test", "sub": "ana", "exp": time.time() + 3000, **more}


def signed(payload: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers=headers)


def hs256(kid: str | None = None, **more: Any) -> Verifier:
    return Verifier(TokenPolicy((TokenKey("HS256", SECRET, kid),), **more), LONGEST)


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


def is_good(found: object) -> bool:
    return not isinstance(found, Rejection)


def test_a_good_token_has_its_claims() -> None:
    found = hs256()(signed(claims(plan="gold")))
    assert not isinstance(found, Rejection)
    assert (found["sub"], found["plan"]) == ("ana", "gold")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_public_keys_verify(algorithm: Any) -> None:
    private, public = pair(algorithm)
    verifier = Verifier(TokenPolicy((TokenKey(algorithm, public),)), LONGEST)
    assert is_good(verifier(signed(claims(), private, algorithm)))
    assert not is_good(verifier(signed(claims(), pair(algorithm)[0], algorithm)))


def test_a_public_key_is_no_shared_secret() -> None:
    _, public = pair("RS256")
    head, body, _ = signed(claims()).split(".")
    verifier = Verifier(TokenPolicy((TokenKey("RS256", public),)), LONGEST)
    forged = urlsafe_b64encode(hmac.digest(public, f"{head}.{body}".encode(), "sha256")).rstrip(b"=").decode()
    assert not is_good(verifier(f"{head}.{body}.{forged}"))


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "malformed"),
        ("x", "malformed"),
        ("a.b.c", "malformed"),
        (signed(claims(), b"another secret of 32 bytes or so"), "bad_signature"),
        (signed(claims()) + "AAAA", "bad_signature"),
        (signed(claims())[:-3], "bad_signature"),
        (signed(claims())[:-2], "malformed"),  # 41 characters are no base64, whatever they are
        (signed(claims()).rsplit(".", 1)[0] + ".", "malformed"),
        (jwt.encode(claims(), "", algorithm="none"), "malformed"),
        (signed(claims(), SECRET + SECRET, "HS512"), "unknown_key"),
        (signed({"sub": "ana"}), "no_expiry"),
        (signed(claims()), "wrong_audience"),
        (signed(claims(exp=NOW - 60)), "expired"),
        (signed(claims(exp="soon")), "malformed"),
        (signed(claims(nbf=NOW + 86_400)), "not_yet_valid"),
        (signed(claims(iat=NOW + 86_400)), "not_yet_valid"),
        (signed(claims(aud="another service")), "wrong_audience"),
        (signed(claims(aud="api", iss="https://evil.test")), "wrong_issuer"),
        (signed(claims(pad="x" * 9000)), "too_long"),
        (signed(claims(), kid="unknown"), "unknown_key"),
        (signed(claims(), crit=["exp"]), "malformed"),
    ],
    ids=str.split(
        "empty word dots other_secret longer shorter no_base64 unsigned none other_algorithm no_expiry no_audience "
        "expired odd_expiry not_yet issued_later other_audience other_issuer huge unknown_key extension"
    ),
)
def test_any_other_token_is_refused_for_a_reason(token: str, reason: str) -> None:
    found = hs256(audience=("api",), issuer="https://id.test")(token)
    assert isinstance(found, Rejection)
    assert (found.source, found.reason) == ("jwt", reason)
    assert reason in REASONS["jwt"]


@pytest.mark.parametrize("subject", [7, 7.5, True, None, ["ana"], {"id": "ana"}])
def test_what_a_claim_that_may_not_be_asked_for_holds_makes_no_token_worthless(subject: Any) -> None:
    assert is_good(hs256()(signed(claims(email="ana@example.test", jti=subject))))
    text = ".".join(part(each) for each in ({"alg": "HS256"}, claims(sub=subject)))
    assert is_good(hs256()(f"{text}.{part(hmac.digest(SECRET, text.encode(), 'sha256'))}"))


def test_a_token_may_be_as_long_as_a_header() -> None:
    token = signed(claims(pad="x" * 20_000))
    policy = TokenPolicy((TokenKey("HS256", SECRET),))
    assert is_good(Verifier(policy, len(token))(token))
    assert not is_good(Verifier(policy, len(token) - 1)(token))


def test_long_tokens_take_no_more_memory_than_short_ones() -> None:
    verifier = Verifier(TokenPolicy((TokenKey("HS256", SECRET),)), MAX_CACHED)
    tokens = [signed(claims(n=number, pad="x" * (MAX_CACHED // 5))) for number in range(6)]
    assert all(is_good(verifier(token)) for token in [*tokens, tokens[-1]])
    remembered = verifier._tokens._good
    assert list(remembered) == tokens[-3:]
    assert verifier._tokens._held == sum(map(len, remembered))


def test_clocks_may_differ_by_half_a_minute() -> None:
    assert is_good(hs256()(signed(claims(exp=time.time() - 20))))


def test_audience_and_issuer_are_checked_when_they_are_set() -> None:
    verifier = hs256(audience=("api",), issuer="https://id.test")
    assert is_good(verifier(signed(claims(aud="api", iss="https://id.test"))))
    assert not is_good(verifier(signed(claims(aud="other", iss="https://id.test"))))
    assert not is_good(verifier(signed(claims(aud="api", iss="https://evil.test"))))
    assert not is_good(verifier(signed(claims())))


def test_of_several_audiences_a_token_has_to_be_for_one() -> None:
    verifier = hs256(audience=("api", "web"))
    for audience in ("api", "web", ["other", "web"]):
        assert is_good(verifier(signed(claims(aud=audience))))
    others: tuple[Any, ...] = ("other", "", "api web", [], ["other"], [None], {"api": True}, [["api"]], None)
    for other in others:
        assert not is_good(verifier(signed(claims(aud=other))))


@pytest.mark.parametrize("audience", ["api", ["api", "other"], "", [], [None], 7, {"api": True}])
def test_without_an_audience_only_tokens_for_nobody_in_particular_are_good(audience: Any) -> None:
    found = hs256()(signed(claims(aud=audience)))
    assert isinstance(found, Rejection)
    assert found.reason == "wrong_audience"
    assert is_good(hs256()(signed(claims())))


def test_keys_are_picked_by_their_id() -> None:
    old, new = b"o" * 32, b"n" * 32
    verifier = Verifier(TokenPolicy((TokenKey("HS256", old, "old"), TokenKey("HS256", new, "new"))), LONGEST)
    assert is_good(verifier(signed(claims(), old, kid="old")))
    assert is_good(verifier(signed(claims(), new, kid="new")))
    assert not is_good(verifier(signed(claims(), old, kid="new")))
    assert not is_good(verifier(signed(claims(), old)))


def test_a_remembered_token_still_expires() -> None:
    now = time.time()
    ticks: Iterator[float] = (now + step for step in count(0, 50))
    verifier = Verifier(TokenPolicy((TokenKey("HS256", SECRET),)), LONGEST, clock=lambda: next(ticks))
    token = signed(claims(exp=now + 60))
    answers = [is_good(verifier(token)) for _ in range(3)]
    assert answers == [True, True, False]


def test_no_more_tokens_are_remembered_than_fit() -> None:
    verifier = hs256()
    for number in range(4200):
        assert is_good(verifier(signed(claims(n=number))))
    assert len(verifier._tokens._good) == 4096
