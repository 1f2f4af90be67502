"""`identity`: sources in their order, and no secret in any text."""

import json
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from gateway.limits.identity_source import Claim, TrustedHeader
from gateway.settings.control import AdminPolicy
from gateway.settings.identity import ApiKeys, IdentityPolicy, Jwt
from gateway.settings.token_key import TokenKey, TokenPolicy
from tests.config.reading import gateway_problems, gateway_warnings, load_gateway_text, public_pem

PEM = public_pem(generate_private_key(SECP256R1()))
SECRET = b"0123456789abcdef0123456789abcdef"
DIGEST = sha256(b"key").hexdigest()


def identity_of(folder: Path, text: str) -> IdentityPolicy:
    return load_gateway_text(folder, f"identity: {text}\n").settings.identity


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "short").write_text("0123456789")
    (tmp_path / "long").write_text("0" * 65)
    (tmp_path / "public.pem").write_bytes(PEM)
    (tmp_path / "private.pem").write_bytes(PEM.replace(b"PUBLIC", b"PRIVATE"))
    (tmp_path / "keys.jsonl").write_text(json.dumps({"sha256": DIGEST, "user": "bob"}))
    return tmp_path


def test_sources_keep_their_order(folder: Path) -> None:
    sources = identity_of(
        folder,
        "{sources: [{api_key: {header: X-Key, keys_file: keys.jsonl}}, "
        "{jwt: {header: X-Token, claim: uid, tier_claim: plan, audience: api, issuer: me, "
        "keys: [{kid: a, algorithm: HS256, secret_file: secret}, "
        "{kid: b, algorithm: ES256, public_key_file: public.pem}]}}, "
        "{trusted_header: {header: X-User}}, client_address], trusted_proxies: [127.0.0.1]}",
    ).sources
    keys = (
        TokenKey("HS256", SECRET, "a", file=folder / "secret"),
        TokenKey("ES256", PEM, "b", file=folder / "public.pem"),
    )
    assert sources == (
        ApiKeys("X-Key", file=folder / "keys.jsonl"),
        Jwt(TokenPolicy(keys, ("api",), "me"), ("uid",), ("plan",), "X-Token"),
        TrustedHeader("X-User"),
    )
    assert "0123456789abcdef" not in repr(sources)


def test_a_token_may_be_alone_in_its_header_or_in_a_cookie_and_for_one_of_several_services(folder: Path) -> None:
    keys = "keys: [{algorithm: HS256, secret_file: secret}]"
    first, second = identity_of(
        folder,
        f"{{sources: [{{jwt: {{header: X-Token, bearer: false, audience: [api, web], {keys}}}}}, "
        f"{{jwt: {{cookie: session, {keys}}}}}]}}",
    ).sources
    policy = TokenPolicy((TokenKey("HS256", SECRET, file=folder / "secret"),), ("api", "web"))
    assert first == Jwt(policy, header="X-Token", bearer=False)
    assert second == Jwt(replace(policy, audience=()), header="Cookie", cookie="session")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sub", ("sub",)),
        ("user.id", ("user", "id")),
        ("realm_access.user.id", ("realm_access", "user", "id")),
        ("'https://example.com/tier'", ("https://example.com/tier",)),
        ("urn:example:user.id", ("urn:example:user.id",)),
        ("https://example.com", ("https://example.com",)),
        ("[user.id]", ("user.id",)),
        ("[user, id]", ("user", "id")),
        ("[user, user]", ("user", "user")),
        ("['https://example.com/user', id]", ("https://example.com/user", "id")),
        ("[com.example.user, id]", ("com.example.user", "id")),
        ("7", ("7",)),
    ],
)
def test_a_claim_is_named_with_dots_as_a_uri_or_as_a_list(folder: Path, text: str, names: tuple[str, ...]) -> None:
    jwt = f"{{claim: {text}, tier_claim: {text}, keys: [{{algorithm: HS256, secret_file: secret}}]}}"
    (source,) = identity_of(folder, f"{{sources: [{{jwt: {jwt}}}]}}").sources
    assert isinstance(source, Jwt)
    assert (source.claim, source.tier_claim) == (names, names)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (".id", "id"),
        ("user.", "user"),
        ("user..id", "user.id"),
        (".", ""),
        ("$.user.id", "user.id"),
        ("/user/id", "user.id"),
        ("user/id", "user.id"),
        ("user->id", "user.id"),
        ("$['user']['id']", "user.id"),
        ("{{ user.id }}", "user.id"),
        ("user?.id", "user.id"),
        ("user id", "user.id"),
        ("user[0]", ""),
        ("user.0.id", ""),
        ("users[*].id", ""),
        ("$['https://example.com/user']", ""),
    ],
)
def test_a_claim_named_as_in_another_product_is_refused_with_the_spelling_that_is_right_here(
    folder: Path, name: str, hint: str
) -> None:
    jwt = f'{{claim: "{name}", keys: [{{algorithm: HS256, secret_file: secret}}]}}'
    (problem,) = gateway_problems(folder, f"identity: {{sources: [{{jwt: {jwt}}}]}}\n")
    assert "jwt.claim: " in problem
    assert "is neither a name nor names with dots between them; write user.id" in problem
    assert problem.endswith(f" (did you mean {hint}?)" if hint else "have no names")


def test_no_source_leaves_the_address(folder: Path) -> None:
    assert identity_of(folder, "{sources: []}").sources == ()
    assert identity_of(folder, "{sources: [client_address]}").sources == ()


def test_api_keys_are_listed_in_the_file_or_beside_it(folder: Path) -> None:
    other = sha256(b"other").hexdigest()
    (source,) = identity_of(
        folder,
        f"{{sources: [{{api_key: {{keys: [{{sha256: {other}, user: al, tier: gold}}], keys_file: keys.jsonl}}}}]}}",
    ).sources
    assert source == ApiKeys(keys={other: Claim("al", "gold")}, file=folder / "keys.jsonl")


def test_proxies_and_hash_key(folder: Path) -> None:
    policy = identity_of(folder, "{trusted_proxies: [10.0.0.0/8, '::1'], hash_key_file: secret}")
    assert policy.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert policy.hash_key == SECRET
    assert "0123456789abcdef" not in repr(policy)


def test_more_headers_are_for_proxies_alone(folder: Path) -> None:
    policy = identity_of(folder, "{proxy_headers: [X-Company-User, x-sso-*]}")
    assert policy.proxy_headers == ("X-Company-User", "x-sso-*")


def test_admin_of_the_control_plane_has_keys(folder: Path) -> None:
    keys = "[{algorithm: HS256, secret_file: secret}]"
    text = f"control: {{admin: {{audience: gw, issuer: me, max_lifetime: 5m, keys: {keys}}}}}\n"
    admin = load_gateway_text(folder, text).settings.control.admin
    assert admin == AdminPolicy(TokenPolicy((TokenKey("HS256", SECRET, file=folder / "secret"),), ("gw",), "me"), 300.0)


def test_trusting_everybody_is_warned_of(folder: Path) -> None:
    (warning,) = gateway_warnings(folder, "identity: {trusted_proxies: [0.0.0.0/0]}\n")
    assert warning.endswith("0.0.0.0/0 is everybody: any client can then claim to be any user")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{sources: [address]}", "sources[0]: a source is a mapping such as jwt: ..., or the word client_address"),
        (
            "{sources: [client_addres]}",
            "or the word client_address (did you mean 'client_address'?)",
        ),
        ("{sources: [{}]}", "sources[0]: a source has one key, its kind: trusted_header, jwt, api_key, "),
        (
            "{sources: [{header: X}]}",
            "sources[0].header: unknown kind of source; write trusted_header, jwt, api_key, client_certificate (did",
        ),
        (
            "{sources: [client_address, {trusted_header: {header: X}}], trusted_proxies: [10.0.0.1]}",
            "sources[0]: every caller has an address, so the sources after this one are never tried; put it last",
        ),
        ("{sources: [{trusted_header: {}}]}", "sources[0].trusted_header: the key 'header' is missing"),
        (
            "{sources: [{trusted_header: {header: X User}}]}",
            "sources[0].trusted_header.header: 'X User' is not the name of a header",
        ),
        ("{sources: [{jwt: {}}]}", "sources[0].jwt: there are no keys here; write 'keys' or 'jwks'"),
        (
            "{sources: [{jwt: {claim: [], keys: [{algorithm: HS256, secret_file: secret}]}}]}",
            "sources[0].jwt.claim: the list is empty",
        ),
        (
            "{sources: [{jwt: {claim: {user: id}, keys: [{algorithm: HS256, secret_file: secret}]}}]}",
            "sources[0].jwt.claim: expected a list",
        ),
        ("{sources: [{jwt: {keys: []}}]}", "sources[0].jwt.keys: the list is empty"),
        (
            "{sources: [{jwt: {cookie: a, header: X-Token, keys: [{algorithm: HS256, secret_file: secret}]}}]}",
            "sources[0].jwt.cookie: 'header' is given as well; write one of the two",
        ),
        (
            "{sources: [{jwt: {cookie: a, bearer: false, keys: [{algorithm: HS256, secret_file: secret}]}}]}",
            "sources[0].jwt.cookie: 'bearer' is given as well; write one of the two",
        ),
        (
            "{sources: [{jwt: {cookie: 'a b', keys: [{algorithm: HS256, secret_file: secret}]}}]}",
            "sources[0].jwt.cookie: 'a b' is not the name of a cookie",
        ),
        (
            "{sources: [{jwt: {audience: [], keys: [{algorithm: HS256, secret_file: secret}]}}]}",
            "sources[0].jwt.audience: the list is empty",
        ),
        ("{sources: [{jwt: {keys: [{}]}}]}", "sources[0].jwt.keys[0]: the key 'algorithm' is missing"),
        (
            "{sources: [{jwt: {keys: [{algorithm: none}]}}]}",
            "sources[0].jwt.keys[0].algorithm: 'none' is not one of the options; write HS256, RS256, RS384, ",
        ),
        (
            "{sources: [{jwt: {keys: [{algorithm: HS256, public_key_file: public.pem}]}}]}",
            "sources[0].jwt.keys[0].public_key_file: a key for HS256 is given by secret_file or secret_env",
        ),
        (
            "{sources: [{jwt: {keys: [{algorithm: RS256}]}}]}",
            "sources[0].jwt.keys[0].algorithm: a key for RS256 is given by public_key_file",
        ),
        (
            "{sources: [{jwt: {keys: [{algorithm: HS256, secret_file: short}]}}]}",
            "sources[0].jwt.keys[0].secret_file: a secret for HS256 is at least 32 bytes long, this one has 10; make",
        ),
        (
            "{sources: [{jwt: {keys: [{algorithm: EdDSA, public_key_file: private.pem}]}}]}",
            "sources[0].jwt.keys[0].public_key_file: this is a private key; the gateway only needs the public one",
        ),
        (
            "{sources: [{jwt: {keys: [{algorithm: EdDSA, public_key_file: secret}]}}]}",
            "sources[0].jwt.keys[0].public_key_file: this is not a public key in PEM: a file that starts with -----B",
        ),
        (
            (
                "{sources: [{jwt: {keys: [{algorithm: HS256, secret_file: secret}, {algorithm: ES256, "
                "public_key_file: public.pem}]}}]}"
            ),
            "sources[0].jwt.keys: with more than one key, each needs a 'kid' that tokens select it by",
        ),
        (
            (
                "{sources: [{jwt: {keys: [{kid: a, algorithm: HS256, secret_file: secret}, {kid: a, algorithm: ES256, "
                "public_key_file: public.pem}]}}]}"
            ),
            "sources[0].jwt.keys: two keys have the same 'kid'",
        ),
        (
            "{sources: [{jwt: {keys: [{algorithm: EdDSA, public_key_file: public.pem}]}}]}",
            "sources[0].jwt.keys[0].public_key_file: this is not a key for EdDSA",
        ),
        ("{sources: [{api_key: {}}]}", "sources[0].api_key: there are no API keys here; write 'keys' or 'keys_file'"),
        (
            "{sources: [{api_key: {keys: [{sha256: hunter2, user: bob}]}}]}",
            "sources[0].api_key.keys[0].sha256: not a SHA-256 in 64 lower-case hex digits; make it with: printf",
        ),
        (
            f"{{sources: [{{api_key: {{keys: [{{sha256: {DIGEST}, user: a}}, {{sha256: {DIGEST}, user: b}}]}}}}]}}",
            "sources[0].api_key.keys: one key has two users here",
        ),
        ("{sources: [{api_key: {keys_file: none.jsonl}}]}", "none.jsonl: No such file or directory"),
        ("{hash_key_file: short}", "hash_key_file: a hash key is 16 to 64 bytes long, this one has 10; make one with"),
        ("{hash_key_file: long}", "hash_key_file: a hash key is 16 to 64 bytes long, this one has 65; make one with"),
        ("{hash_key: hunter2}", "hash_key: unknown key 'hash_key'; the keys here are hash_key_env, hash_key_file, pro"),
        (
            "{proxy_headers: ['*']}",
            "proxy_headers[0]: '*' is not the name of a header; write X-Company-User, or X-Comp",
        ),
        ("{proxy_headers: [X_User]}", "proxy_headers[0]: 'X_User' is not the name of a header; write X-Company-User"),
        ("{proxy_headers: ['X-*-Id']}", "proxy_headers[0]: 'X-*-Id' is not the name of a header; write X-Company-User"),
        ("{proxy_headers: [X-A, X-A]}", "proxy_headers[1]: duplicate item in this list"),
        (
            f"{{proxy_headers: [X-Api-*], sources: [{{api_key: {{keys: [{{sha256: {DIGEST}, user: al}}]}}}}]}}",
            "proxy_headers: X-Api-*: clients send tokens or keys in X-Api-Key, see 'sources'",
        ),
        (
            "{proxy_headers: [authorization], sources: [{jwt: {keys: [{algorithm: HS256, secret_file: secret}]}}]}",
            "proxy_headers: authorization: clients send tokens or keys in Authorization, see 'sources'",
        ),
        ("{trusted_proxies: [10.1.1.1/8]}", "trusted_proxies[0]: '10.1.1.1/8' has bits set after its prefix (did you"),
    ],
)
def test_mistake_is_told_without_showing_a_secret(folder: Path, text: str, problem: str) -> None:
    (found,) = gateway_problems(folder, f"identity: {text}\n")
    assert problem in found
    assert "hunter2" not in found


def test_by_default_no_header_and_no_proxy_is_believed(folder: Path) -> None:
    policy = load_gateway_text(folder, "").settings.identity
    assert (policy.sources, policy.trusted_proxies) == ((), ())


def test_a_trusted_header_that_nobody_may_set_is_an_error(folder: Path) -> None:
    for proxies in ("", ", trusted_proxies: []"):
        (problem,) = gateway_problems(
            folder, f"identity: {{sources: [{{trusted_header: {{header: X-User}}}}]{proxies}}}\n"
        )
        assert "X-User is believed from nobody: name the proxies that set it in 'trusted_proxies'" in str(problem)


def test_a_trusted_header_is_warned_of_with_what_the_proxy_has_to_do(folder: Path) -> None:
    sources = "[{trusted_header: {header: X-User, tier_header: X-Plan}}]"
    (warning,) = gateway_warnings(folder, f"identity: {{sources: {sources}, trusted_proxies: [10.0.0.0/8]}}\n")
    assert "X-User and X-Plan: believed from 10.0.0.0/8. The proxy there must set or clear them" in str(warning)
