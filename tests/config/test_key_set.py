"""Which keys of a key set are used, and with which algorithm."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from gateway.config.key_set import MAX_SIZE, KeySetError, parse_key_set
from gateway.settings.token_key import Jwks, TokenKey
from tests.auth.keys import pair
from tests.control.key_sets.issuer import jwk, key_set

ED, EC, RSA = pair("EdDSA"), pair("ES256"), pair("RS256")
ALL = Jwks().algorithms
OCT = {"kty": "oct", "kid": "o", "k": "c2VjcmV0" * 6, "alg": "HS256", "use": "sig"}


def refused(*jwks: Any) -> tuple[str, ...]:
    """What is said of keys beside a good one."""
    found = parse_key_set(key_set(jwk(ED, "good"), *jwks), ALL)
    assert [key.kid for key in found.keys] == ["good"]
    return found.refused


def test_each_key_has_its_algorithm() -> None:
    found = parse_key_set(key_set(jwk(ED, "a"), jwk(EC, "b"), jwk(RSA, "c")), ALL)
    assert [(key.kid, key.algorithm) for key in found.keys] == [("a", "EdDSA"), ("b", "ES256"), ("c", "RS256")]
    assert found.keys[0] == TokenKey("EdDSA", ED.verifying + b"\n", "a")
    assert found.refused == ()


def test_a_key_without_an_algorithm_gets_the_first_that_fits() -> None:
    found = parse_key_set(
        key_set(jwk(RSA, "a", alg=None, use=None), jwk(EC, "b", alg=None, use=None)), ("ES256", "RS256")
    )
    assert [key.algorithm for key in found.keys] == ["RS256", "ES256"]


def test_keys_for_something_else_are_passed_over() -> None:
    assert refused(jwk(EC, "e", use="enc"), jwk(EC, "s", use=None, key_ops=["sign"])) == ()


def weak() -> dict[str, Any]:
    members = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    return members | {"kid": "w", "key_ops": ["verify"]}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (OCT, "(o) is a shared secret"),
        (jwk(EC, "p") | {"d": "AAAA"}, "(p) is a private key"),
        (jwk(EC, "x", alg="RS256"), "(x) fits none of the algorithms RS256, ES256, EdDSA"),
        (jwk(RSA, "x", alg="HS256"), "fits none"),
        (jwk(RSA, "x", alg="none"), "fits none"),
        (jwk(EC, "x", crv="P-384"), "fits none"),
        (jwk(EC, "x", kty="RSA"), "fits none"),
        (jwk(EC, "x", kty=["EC"]), "fits none"),
        (jwk(EC, "x", y="AAAA"), "is not a valid key for ES256"),
        (jwk(EC, "x", y=None), "is not a valid key for ES256"),
        (jwk(EC, "x", y=7), "is not a valid key for ES256"),
        (jwk(ED, "x", x="!"), "is not a valid key for EdDSA"),
        (weak(), "(w) has 1024 bits"),
        (jwk(EC) | {"kid": 7}, "a kid that is not"),
        (jwk(EC) | {"kid": "a\nb"}, "a kid that is not"),
        (jwk(EC) | {"kid": "k" * 257}, "a kid that is not"),
        ("key", "is not a JSON object"),
    ],
)
def test_a_bad_key_is_refused_and_the_others_are_used(bad: Any, why: str) -> None:
    (said,) = refused(bad)
    assert said.startswith("key 2 ")
    assert why in said


def test_a_key_without_a_kid_is_used_only_if_it_is_the_only_one() -> None:
    assert parse_key_set(key_set(jwk(EC)), ALL).keys[0].kid is None
    assert refused(jwk(EC)) == ("a key without a kid is one of several keys",)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>", "not strict JSON"),
        (b"[]", "not a key set"),
        (b'{"keys": {}}', "not a key set"),
        (b'{"keys": [], "keys": []}', "two members of the same name"),
        (key_set(), "no key that verifies"),
        (key_set(OCT), "no key that verifies signatures; key 1 .o. is a shared secret"),
        (key_set(jwk(EC, "a"), jwk(RSA, "a")), "two keys have the same kid"),
        (json.dumps({"keys": [{}] * 101}).encode(), "more than 100 keys"),
        (b" " * (MAX_SIZE + 1), "larger than 512 KiB"),
    ],
)
def test_a_bad_set_is_refused_as_a_whole(content: bytes, why: str) -> None:
    with pytest.raises(KeySetError, match=why):
        parse_key_set(content, ALL)


values = st.none() | st.integers() | st.text(max_size=8) | st.sampled_from([jwk(EC)["x"], jwk(RSA)["n"], "AQAB"])
members = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "k", "alg", "use", "kid", "key_ops"])


@given(st.sampled_from([EC, ED, RSA]), st.dictionaries(members, values))
def test_no_key_that_somebody_bent_ends_in_anything_but_a_refusal(key: Any, bent: dict[str, Any]) -> None:
    found = (
        parse_key_set(key_set(jwk(ED, "good"), jwk(key, "other") | bent), ALL) if bent.get("kid") != "good" else None
    )
    assert found is None or found.keys[0].kid == "good"
