"""Tokens damaged in any way: no reader fails on one, and none is good that a second opinion does not find good."""

import hmac
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jwt
from hypothesis import event, example, given
from hypothesis import strategies as st

from gateway.auth.admin_token import AdminVerifier
from gateway.auth.caller_token import Verifier
from gateway.auth.signed_token import TokenRefusedError
from gateway.limits.rejection import Rejection
from gateway.settings.control import AdminPolicy
from gateway.settings.token_key import TokenKey, TokenPolicy
from tests.auth.keys import ALGORITHMS, AUDIENCE, ISSUER, Pair, pair, part
from tests.fuzzing import examples
from tests.hostile.tokens import Keys, callers_claims, operators_claims

LIFETIME = 3600.0
OWN = [pair(algorithm) for algorithm in ALGORITHMS]
SEVERAL = tuple(each.token_key(each.signing.algorithm) for each in OWN)
RINGS: list[tuple[TokenKey, ...]] = [SEVERAL, *((each.token_key(),) for each in OWN)]

Members = list[tuple[str, str]]
Offer = tuple[str, tuple[TokenKey, ...]]
ODD = st.sampled_from(
    [
        *("null", "true", "false", "0", "-1", "1.5", "1e5", "1e999", "-1e999", "NaN", "Infinity", "9" * 400, "-0.0"),
        *('""', '"x"', "[]", "{}", "[[]]", '"\\ud800"', '"a\\nb"', '"\\u0000"', '"é"', "[" * 3000, '["b64"]', "1 2"),
        *('"none"', '"HS256"', '"RS256"', '"hs256"', '["HS256"]', '"EdDSA"', '"../../dev/null"', '"limits:write"'),
        *(f'"{AUDIENCE}"', f'["{AUDIENCE}"]', f'["{AUDIENCE}", "x"]', f'"{AUDIENCE}x"', f'"{ISSUER}"', f'["{ISSUER}"]'),
        *('{"kty": "oct", "k": "AAAA"}', '"http://127.0.0.1:9/k"', "1700000000", '"1700000000"', "4102444800"),
    ]
)
LETTER = st.sampled_from([".", "=", "==", "+", "/", " ", "\n", "é", "\udcff", "%2e", "A"])
HEADERS = ["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "p2c", "\\u0061lg"]
CLAIMS = ["exp", "iat", "nbf", "aud", "iss", "sub", "jti", "scope", "cnf", "e\\u0078p", ""]


@st.composite
def mangled(draw: st.DrawFn, members: Members, names: list[str]) -> bytes:
    """An object, some of whose members are another, missing, or there twice."""
    members = list(members)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        name, value = draw(st.sampled_from(names)), draw(ODD)
        kept = [each for each in members if each[0] != name or draw(st.booleans())]
        members = [*kept, (name, value)] if draw(st.booleans()) else [(name, value), *kept]
    text = "{" + ",".join(f'"{name}": {value}' for name, value in members) + "}"
    return draw(st.sampled_from([*[text] * 8, f" {text}\n", f"[{text}]", text[:-1], f"\ufeff{text}"])).encode(
        "utf-8", "surrogatepass"
    )


def sign(key: Pair, text: str) -> str:
    algorithm = key.signing.algorithm
    if algorithm == "HS256":
        return part(hmac.digest(key.verifying, text.encode(), "sha256"))
    made = jwt.get_algorithm_by_name(algorithm)
    return part(made.sign(text.encode(), made.prepare_key(key.signing.key)))


FORGERS: list[Callable[[Pair, str], str]] = [
    *[sign] * 12,
    lambda _key, text: sign(pair("HS256", 1), text),
    lambda key, text: part(hmac.digest(key.verifying, text.encode(), "sha256")),
    lambda _key, text: part(hmac.digest(b"", text.encode(), "sha256")),
    lambda _key, _text: "",
    lambda _key, _text: part(bytes(64)),
]


@st.composite
def tokens(draw: st.DrawFn) -> Offer:
    """From good ones to rubbish, with keys that one of them is for, as a rule."""
    key, now = draw(st.sampled_from(OWN)), int(time.time())
    algorithm = key.signing.algorithm
    kid, ring = draw(st.sampled_from([([("kid", f'"{algorithm}"')], SEVERAL), ([], (key.token_key(),))]))
    issued = now + draw(st.sampled_from([0, 0, 0, 0, -40, -4000, 20, 40]))
    lifetime = draw(st.sampled_from([300, 300, 300, 3600, 3700, 0, -10, 10**9]))
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ana",
        "jti": "1",
        "iat": issued,
        "exp": issued + lifetime,
    }
    head = part(draw(mangled([("alg", f'"{algorithm}"'), *kid], HEADERS)))
    payload = part(draw(mangled([(name, json.dumps(value)) for name, value in claims.items()], CLAIMS)))
    text = f"{head}.{payload}"
    token = draw(damaged(f"{text}.{draw(st.sampled_from(FORGERS))(key, text)}"))
    return token, draw(st.sampled_from([ring] * 5 + RINGS))


def of(members: str) -> Offer:
    """A token for callers with a true signature."""
    text = f"{part({'alg': 'HS256'})}.{part(f'{{{members}}}'.encode())}"
    return f"{text}.{sign(OWN[0], text)}", (OWN[0].token_key(),)


@st.composite
def damaged(draw: st.DrawFn, token: str) -> str:
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(token)) | st.just(len(token) - 1))
        token = draw(
            st.sampled_from(
                [
                    token[:place] + chr(ord(token[place]) ^ 1 << draw(st.integers(0, 6))) + token[place + 1 :]
                    if place < len(token)
                    else token,
                    token[:place] + draw(LETTER) + token[place:],
                    token[:place] + token[place + draw(st.integers(1, 40)) :],
                    token.replace("-", "+").replace("_", "/"),
                    token + ".",
                    token + "." + token,
                    "." + token,
                    token.replace(".", "..", 1),
                ]
            )
        )
    return token


def named(ring: tuple[TokenKey, ...]) -> Keys:
    return {key.kid: key for key in ring}


@examples(500)
@given(tokens())
@example(of(f'"aud": "{AUDIENCE}", "iss": "{ISSUER}", "exp": {"9" * 400}'))
@example(of(f'"aud": "{AUDIENCE}", "iss": "{ISSUER}", "exp": 1, "exp": 4102444800'))
def test_no_token_is_a_callers_but_one_that_a_second_opinion_finds_good(offer: Offer) -> None:
    token, ring = offer
    verifier = Verifier(TokenPolicy(ring, (AUDIENCE,), ISSUER), 8190)
    found = verifier(token)
    event(found.reason if isinstance(found, Rejection) else "good")
    assert verifier(token) == found, "the same when it is remembered"
    if not isinstance(found, Rejection):
        assert callers_claims(token, named(ring), time.time()) == found


@examples(500)
@given(tokens())
def test_no_token_is_an_operators_but_one_that_a_second_opinion_finds_good(offer: Offer) -> None:
    token, ring = offer
    verifier = AdminVerifier(AdminPolicy(TokenPolicy(ring, (AUDIENCE,), ISSUER), LIFETIME))
    grant = None
    with suppress(TokenRefusedError):
        grant = verifier.verify(token)
    event("good" if grant else "none")
    if grant is not None:
        claims = operators_claims(token, named(ring), time.time(), LIFETIME)
        assert (grant.subject, grant.id, grant.expires_at) == (claims["sub"], claims["jti"], claims["exp"])
        assert grant.scopes == frozenset(claims.get("scope", "").split(" "))
        assert verifier.verify(token) == grant


NAME = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60)
EXTRA: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text(max_size=10),
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20) | st.lists(st.text(max_size=5)),
    max_size=4,
)


@examples(500)
@given(st.sampled_from(OWN), st.booleans(), NAME, NAME, st.integers(-29, 29), st.integers(60, 3600), EXTRA)
def test_a_good_token_is_good_whatever_else_it_says(
    key: Pair, alone: bool, subject: str, name: str, issued: int, lifetime: int, extra: dict[str, Any]
) -> None:
    algorithm, now = key.signing.algorithm, int(time.time())
    ring = (key.token_key(),) if alone else SEVERAL
    header = {"alg": algorithm, "typ": "JWT"} | ({} if alone else {"kid": algorithm})
    own = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "jti": name}
    times = {"iat": now + issued, "exp": now + issued + lifetime}
    claims = {name: value for name, value in extra.items() if name not in {"nbf", "scope"}} | own | times
    text = f"{part(header)}.{part(claims)}"
    token = f"{text}.{sign(key, text)}"
    policy = TokenPolicy(ring, (AUDIENCE,), ISSUER)
    assert Verifier(policy, 8190)(token) == claims
    grant = AdminVerifier(AdminPolicy(policy, LIFETIME)).verify(token)
    assert (grant.subject, grant.id) == (subject, name)
