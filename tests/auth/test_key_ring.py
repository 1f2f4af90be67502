"""Keys that are replaced while tokens are verified."""

from typing import Any

import pytest

from gateway.auth.caller_token import Verifier
from gateway.auth.key_ring import KeyRing, KeyRings
from gateway.config.keys import Keys
from gateway.limits.identity_source import Claim
from gateway.limits.rejection import Rejection
from gateway.settings.token_key import Jwks, TokenPolicy
from tests.auth.keys import pair, part, signed

OLD, NEW = pair("EdDSA", 1), pair("EdDSA", 2)
POLICY = TokenPolicy(jwks=Jwks("https://issuer.test/keys"))


def token(kid: str | None = "old", key: Any = OLD) -> str:
    return signed({"sub": "ana", "exp": 4_000_000_000}, {"alg": "EdDSA"} | ({"kid": kid} if kid else {}), key.signing)


def reason(found: object) -> str:
    assert isinstance(found, Rejection)
    return found.reason


def test_a_token_that_is_remembered_is_not_good_without_its_key() -> None:
    ring = KeyRing([OLD.token_key("old")], is_published=True)
    verify = Verifier(POLICY, 8190, ring)
    assert not isinstance(verify(token()), Rejection)
    assert not isinstance(verify(token()), Rejection)
    ring.use([NEW.token_key("new")])
    assert reason(verify(token())) == "unknown_key"
    assert not isinstance(verify(token("new", NEW)), Rejection)
    ring.use([NEW.token_key("old")])
    assert reason(verify(token())) == "bad_signature"
    ring.use(())
    assert reason(verify(token())) == "keys_unavailable"


def test_only_a_kid_that_is_not_known_is_a_miss() -> None:
    misses = []
    ring = KeyRing([OLD.token_key("old")], is_published=True)
    ring.missed = lambda: misses.append(1)
    verify = Verifier(POLICY, 8190, ring)
    for good in (token(), token(None)):
        assert not isinstance(verify(good), Rejection)
    for bad in ("", "a.b", token(key=NEW)):
        verify(bad)
    assert misses == []
    verify(token("new", NEW))
    assert misses == [1]


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS256"])
def test_the_algorithm_is_that_of_the_key_whatever_the_token_says(algorithm: str) -> None:
    ring = KeyRing([OLD.token_key("old")], is_published=True)
    head, body, signature = token().split(".")
    forged = part({"alg": algorithm, "kid": "old"})
    assert forged != head
    assert reason(Verifier(POLICY, 8190, ring)(f"{forged}.{body}.{signature}")) == "unknown_key"


def test_policies_with_the_same_key_set_share_its_keys() -> None:
    rings = KeyRings(Keys())
    other = TokenPolicy(audience=("another",), jwks=POLICY.jwks)
    assert rings.of("a", POLICY) is rings.of("b", other)
    assert rings.published() == [(POLICY.jwks, rings.of("c", POLICY))]


def test_reloads_replace_keys_and_leave_those_alone_that_have_not_changed() -> None:
    old, new = (OLD.token_key(),), (NEW.token_key(),)
    policy = TokenPolicy(old)
    rings = KeyRings(Keys({"a": old, "b": old}, {"c": {"1": Claim("ana")}}))
    a, b, c = rings.of("a", policy), rings.of("b", policy), rings.api_keys("c")
    kept = b.keys
    rings.use(Keys({"a": new, "b": old}, {"c": {"2": Claim("bob")}}))
    assert (a.keys, b.keys is kept, rings.of("a", policy) is a) == (new, True, True)
    assert (c.get("1"), c.get("2")) == (None, Claim("bob"))
