"""Which tokens let their bearer change things. `tests/control` sends the same attacks to a gateway."""

import time

import pytest

from gateway.auth.admin_token import AdminVerifier
from gateway.auth.grant import Scope
from gateway.auth.signed_token import TokenRefusedError
from gateway.settings.token_key import Algorithm
from tests.auth.attacks import ATTACKS
from tests.auth.keys import ALGORITHMS, claims, pair, policy, signed, token


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token_of_every_algorithm_is_read(algorithm: Algorithm) -> None:
    good = pair(algorithm)
    grant = AdminVerifier(policy(good.token_key())).verify(token("check reload", good.signing, jti="j1"))
    assert (grant.subject, grant.id, grant.scopes) == ("ana", "j1", frozenset({"check", "reload"}))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("algorithms", [("HS256",), ("RS256",), ALGORITHMS], ids=["secret", "public-key", "all"])
def test_an_attack_is_refused_whatever_keys_there_are(attack: str, algorithms: tuple[Algorithm, ...]) -> None:
    kids = [None] if len(algorithms) == 1 else list(algorithms)
    keys = [pair(algorithm).token_key(kid) for algorithm, kid in zip(algorithms, kids, strict=True)]
    with pytest.raises(TokenRefusedError):
        AdminVerifier(policy(*keys)).verify(ATTACKS[attack]())


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_reason_quotes_nothing_of_the_token(attack: str) -> None:
    with pytest.raises(TokenRefusedError) as refused:
        AdminVerifier(policy()).verify(ATTACKS[attack]())
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 80
    assert "ana" not in str(refused.value).split()


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("limits:write", {Scope.WRITE_LIMITS}),
        ("limits:writeX xlimits:write limits limits:", set()),
        ("limits:write,reload", set()),
        ("LIMITS:WRITE", set()),
        ("reload\tcheck", set()),
        ("*", set()),
        ("", set()),
        (None, set()),
        (" ".join(scope.value for scope in Scope), set(Scope)),
    ],
)
def test_a_scope_is_a_whole_word(scope: str | None, scopes: set[Scope]) -> None:
    grant = AdminVerifier(policy()).verify(token(scope))
    assert {each for each in Scope if grant.covers(each)} == scopes


def test_two_keys_are_good_at_once_and_a_removed_one_is_not() -> None:
    old, new = pair("HS256", 2), pair("EdDSA", 2)
    by_old, by_new = token(key=old.signing, kid="2025"), token(key=new.signing, kid="2026")
    both = AdminVerifier(policy(old.token_key("2025"), new.token_key("2026")))
    assert both.verify(by_old).subject == both.verify(by_new).subject == "ana"
    after = AdminVerifier(policy(new.token_key("2026")))
    assert after.verify(by_new).subject == "ana"
    with pytest.raises(TokenRefusedError, match="kid"):
        after.verify(by_old)


def test_with_several_keys_a_token_has_to_name_one() -> None:
    with pytest.raises(TokenRefusedError, match="several"):
        AdminVerifier(policy(pair("HS256").token_key("a"), pair("EdDSA").token_key("b"))).verify(token())


def test_a_key_is_not_picked_by_the_algorithm_another_is_for() -> None:
    keys = policy(pair("HS256").token_key("a"), pair("HS256", 1).token_key("b"))
    with pytest.raises(TokenRefusedError, match="signature"):
        AdminVerifier(keys).verify(token(key=pair("HS256").signing, kid="b"))


def test_clocks_may_differ_by_thirty_seconds_and_no_more() -> None:
    now = 1_000_000.0
    verifier = AdminVerifier(policy(), clock=lambda: now)
    assert verifier.verify(token(iat=999_000, exp=999_971)).expires_at == 999_971
    assert verifier.verify(token(iat=1_000_030, exp=1_000_100, nbf=1_000_030)).subject == "ana"
    for late, early in ((999_970, 999_000), (1_000_100, 1_000_031)):
        with pytest.raises(TokenRefusedError):
            verifier.verify(token(iat=early, exp=late))


def test_a_token_may_live_as_long_as_the_policy_says() -> None:
    now = int(time.time())
    verifier = AdminVerifier(policy(max_lifetime=900))
    assert verifier.verify(token(iat=now, exp=now + 900)).subject == "ana"
    with pytest.raises(TokenRefusedError, match="lifetime"):
        verifier.verify(token(iat=now, exp=now + 901))


def test_a_remembered_token_still_expires() -> None:
    now = 1_000_000.0
    verifier = AdminVerifier(policy(), clock=lambda: now)
    good = token(iat=1_000_000, exp=1_000_060)
    assert verifier.verify(good) is verifier.verify(good)
    now = 1_000_091.0
    with pytest.raises(TokenRefusedError, match="expired"):
        verifier.verify(good)
    with pytest.raises(TokenRefusedError, match="expired"):
        verifier.verify(good)


def test_no_more_tokens_are_remembered_than_fit() -> None:
    verifier = AdminVerifier(policy())
    for number in range(1100):
        verifier.verify(signed(claims(jti=str(number)), {"alg": "HS256"}))
    assert len(verifier._tokens._good) == 1024
