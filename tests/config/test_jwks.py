"""Where the keys of an issuer are."""

from pathlib import Path

import pytest

from gateway.settings.identity import Jwt
from gateway.settings.token_key import Jwks, TokenKey, TokenPolicy
from tests.auth.keys import pair
from tests.config.reading import gateway_problems, gateway_warnings, load_gateway_text, write_certificates
from tests.control.key_sets.issuer import jwk, key_set

URL = "https://login.example:8443/keys?of=this"
SOURCE = "identity: {{sources: [{{jwt: {{jwks: {}}}}}]}}\n"
HERE = "identity.sources[0].jwt.jwks"


def policy_of(folder: Path, jwks: str) -> TokenPolicy:
    (source,) = load_gateway_text(folder, SOURCE.format(jwks)).settings.identity.sources
    assert isinstance(source, Jwt)
    return source.policy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_certificates(tmp_path, "ca.pem")
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "keys.json").write_bytes(key_set(jwk(pair("ES256"), "a"), jwk(pair("EdDSA"), "b", kty="oct")))
    return tmp_path


def test_a_url_has_the_defaults(folder: Path) -> None:
    assert policy_of(folder, f"{{url: '{URL}'}}") == TokenPolicy(jwks=Jwks(URL))
    text = f"{{url: '{URL}', algorithms: [ES256], ca: ca.pem, refresh: 1m, timeout: 1s, at_most_stale: 1h, grace: 1m}}"
    jwks = Jwks(URL, None, ("ES256",), folder / "ca.pem", 60.0, 1.0, 3600.0, 60.0)
    assert policy_of(folder, text) == TokenPolicy(jwks=jwks)


def test_a_file_is_read_at_once(folder: Path) -> None:
    policy = policy_of(folder, "{file: keys.json}")
    assert policy.keys == (TokenKey("ES256", pair("ES256").verifying + b"\n", "a"),)
    (warning,) = gateway_warnings(folder, SOURCE.format("{file: keys.json}"))
    assert "key 2 (b) is a shared secret, which everybody knows who can read this set; it is not used" in warning


def test_admin_tokens_can_have_an_issuer_too(folder: Path) -> None:
    text = f"control: {{admin: {{audience: gw, issuer: me, jwks: {{url: '{URL}'}}}}}}\n"
    admin = load_gateway_text(folder, text).settings.control.admin
    assert admin is not None
    assert admin.tokens == TokenPolicy((), ("gw",), "me", Jwks(URL))


@pytest.mark.parametrize(
    ("jwks", "problem"),
    [
        ("{}", ": where the keys are is missing; write 'url' or 'file'"),
        ("{url: 'https://a/b', file: keys.json}", ".file: 'url' is given as well; write one of the two"),
        ("{url: 'http://a/b'}", ".url: the keys of an issuer are at https://HOST/PATH"),
        ("{url: 'https://a'}", ".url: the keys of an issuer are at https://HOST/PATH"),
        ("{url: 'https://ana:secret@a/b'}", ".url: the keys of an issuer are at https://HOST/PATH"),
        ("{url: 'https://a:99999/b'}", ".url: "),
        ("{url: 'https://a/b', algorithms: []}", ".algorithms: the list is empty"),
        ("{url: 'https://a/b', algorithms: [HS256]}", ".algorithms[0]: 'HS256' is not one of the options"),
        ("{url: 'https://a/b', refresh: 0.5s}", ".refresh: keys are fetched once a second at most"),
        ("{url: 'https://a/b', at_most_stale: 1m}", ".at_most_stale: this is shorter than 'refresh'"),
        ("{file: keys.json, grace: 1m}", ".grace: this is for keys that are fetched from a URL"),
        ("{file: bad.json}", ": bad.json cannot be used as a key set: it is not a key set"),
        ("{file: none.json}", ".file: none.json: No such file"),
    ],
)
def test_mistakes_are_told(folder: Path, jwks: str, problem: str) -> None:
    (said, *_) = gateway_problems(folder, SOURCE.format(jwks))
    assert f"{HERE}{problem}" in said.replace(f"{folder}/", "")
    assert "secret" not in said


def test_keys_are_given_in_one_way(folder: Path) -> None:
    text = f"identity: {{sources: [{{jwt: {{keys: [], jwks: {{url: '{URL}'}}}}}}]}}\n"
    assert any("'keys' is given as well" in each for each in gateway_problems(folder, text))
