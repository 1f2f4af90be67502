"""Keys in files, read again; what is said of the difference."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.config.diagnostic import ConfigError
from gateway.config.keys import Keys, key_files, load_keys
from gateway.config.reloaded import reloaded_digest, reloaded_files
from gateway.limits.identity_source import Claim
from gateway.settings.gateway import Settings
from tests.auth.keys import pair
from tests.config.reading import load_gateway_text, write_certificates
from tests.control.key_sets.issuer import jwk, key_set

TEXT = """
identity:
  sources:
    - jwt: {keys: [{kid: a, algorithm: HS256, secret_file: secret}, {kid: b, algorithm: EdDSA, public_key_file: b.pem}]}
    - jwt: {jwks: {file: jwks.json}}
    - api_key: {header: X-Key, keys_file: keys.jsonl, keys: [{sha256: SHA, user: listed}]}
control: {admin: {audience: gw, issuer: me, keys: [{algorithm: EdDSA, public_key_file: b.pem}]}}
"""
LISTED = sha256(b"listed").hexdigest()
SOURCES = [f"identity.sources[{index}]" for index in range(3)]


def write_keys(folder: Path, **users: str) -> None:
    records = [{"sha256": sha256(key.encode()).hexdigest(), "user": user} for key, user in users.items()]
    (folder / "keys.jsonl").write_text("\n".join(map(json.dumps, records)))


def write_public(folder: Path, number: int) -> None:
    (folder / "b.pem").write_bytes(pair("EdDSA", number).verifying)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "secret").write_bytes(b"s" * 32 + b"\n")
    (tmp_path / "jwks.json").write_bytes(key_set(jwk(pair("ES256"), "c")))
    write_public(tmp_path, 1)
    write_keys(tmp_path, one="ana", two="bob")
    return load_gateway_text(tmp_path, TEXT.replace("SHA", LISTED)).settings


def problems(settings: Settings, before: Keys) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_keys(settings, before)
    return [str(each) for each in error.value.problems]


def test_all_keys_are_found_by_their_place(settings: Settings) -> None:
    keys = load_keys(settings)
    kids = {place: [key.kid for key in found] for place, found in keys.tokens.items()}
    assert kids == {SOURCES[0]: ["a", "b"], SOURCES[1]: ["c"], "control.admin": [None]}
    assert keys.tokens[SOURCES[0]][0].key == b"s" * 32
    assert sorted(claim.user for claim in keys.holders[SOURCES[2]].values()) == ["ana", "bob", "listed"]
    assert "ana" not in repr(keys)


def test_what_has_not_changed_is_used_again(settings: Settings) -> None:
    keys = load_keys(settings)
    again = load_keys(settings, keys)
    assert again.holders[SOURCES[2]] is keys.holders[SOURCES[2]]
    assert again.changes_since(keys) == {}


def test_the_difference_is_counted_and_no_key_is_in_it(settings: Settings, tmp_path: Path) -> None:
    before = load_keys(settings)
    write_keys(tmp_path, two="carol", three="ana", four="ana", five="ana")
    write_public(tmp_path, 2)
    changes: dict[str, Any] = load_keys(settings, before).changes_since(before)
    assert changes == {
        "token_keys": [SOURCES[0], "control.admin"],
        "api_keys": {"added": 3, "revoked": 1, "changed": 1},
    }


def test_all_that_is_wrong_is_told_with_the_setting_that_names_it(settings: Settings, tmp_path: Path) -> None:
    before = load_keys(settings)
    (tmp_path / "secret").write_text("short")
    (tmp_path / "b.pem").write_text("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "jwks.json").write_text("{}")
    (tmp_path / "keys.jsonl").unlink()
    said = [each.replace(f"{tmp_path}/", "") for each in problems(settings, before)]
    assert [each.partition(": ")[0] for each in said] == ["secret", "b.pem", "jwks.json", "b.pem", "keys.jsonl"]
    assert "identity.sources[0].jwt.keys[0].secret_file: a secret for HS256 is at least 32 bytes" in said[0]
    assert "identity.sources[0].jwt.keys[1].public_key_file: this is a private key" in said[1]
    assert "identity.sources[1].jwt.jwks.file: it is not a key set" in said[2]
    assert "control.admin.keys[0].public_key_file: this is a private key" in said[3]
    assert "identity.sources[2].api_key.keys_file: No such file" in said[4]
    (tmp_path / "keys.jsonl").write_text(json.dumps({"sha256": LISTED, "user": "eve"}))
    assert "a key is given both here and in 'keys' of the settings" in problems(settings, before)[-1]


def test_the_files_are_known(settings: Settings) -> None:
    assert {place: file.name for place, file in key_files(settings).items()} == {
        "identity.sources[0].jwt.keys[0].secret_file": "secret",
        "identity.sources[0].jwt.keys[1].public_key_file": "b.pem",
        "identity.sources[1].jwt.jwks.file": "jwks.json",
        "identity.sources[2].api_key.keys_file": "keys.jsonl",
        "control.admin.keys[0].public_key_file": "b.pem",
    }


def test_settings_without_a_file_have_the_keys_that_are_listed(tmp_path: Path) -> None:
    text = f"identity: {{sources: [{{api_key: {{keys: [{{sha256: {LISTED}, user: al}}]}}}}]}}\n"
    keys = load_keys(load_gateway_text(tmp_path, text).settings)
    assert keys.holders == {SOURCES[0]: {LISTED: Claim("al")}}


def test_a_reload_reads_rules_certificates_and_keys_again(tmp_path: Path) -> None:
    write_certificates(tmp_path, "cert.pem", "key.pem", "ca.pem")
    (tmp_path / "rules.yaml").write_text("limits: []\n")
    write_public(tmp_path, 1)
    text = (
        "listen: {port: 8443, tls: {certificate: cert.pem, key: key.pem}}\nrules: rules.yaml\n"
        "control: {admin: {audience: gw, issuer: me, keys: [{algorithm: EdDSA, public_key_file: b.pem}]}}\n"
    )
    upstreams = "upstreams: {default: {urls: [https://127.0.0.1:9000], tls: {ca: ca.pem}}}\n"
    settings = load_gateway_text(tmp_path, text, upstreams=upstreams).settings
    assert {place: file.name for place, file in reloaded_files(settings).items()} == {
        "rules": "rules.yaml",
        "upstreams.default.tls.ca": "ca.pem",
        "listen.tls.certificate": "cert.pem",
        "listen.tls.key": "key.pem",
        "control.admin.keys[0].public_key_file": "b.pem",
    }


def test_the_digest_is_of_contents_however_they_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text("limits: []\n")
    write_public(tmp_path, 1)
    admin = "{audience: gw, issuer: me, keys: [{algorithm: EdDSA, public_key_file: b.pem}]}"
    text = f"rules: rules\ncontrol: {{admin: {admin}}}\n"
    settings = load_gateway_text(tmp_path, text).settings
    seen = [reloaded_digest(settings)]

    def changed() -> bool:
        seen.append(reloaded_digest(settings))
        return seen[-1] not in seen[:-1]

    write_public(tmp_path, 1)
    (tmp_path / "rules" / ".a.yaml").write_text("of an editor")
    assert not changed()
    write_public(tmp_path, 2)
    assert changed()
    (tmp_path / "new").write_text("block: {}\n")
    (tmp_path / "new").replace(tmp_path / "rules" / "a.yaml")
    assert changed()
    (tmp_path / "rules" / "b.yaml").write_text("")
    assert changed()
    (tmp_path / "b.pem").unlink()
    assert changed()
    assert not changed()
