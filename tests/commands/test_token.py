"""`gateway token`: the gateway accepts the keys and tokens it makes."""

import time
from pathlib import Path

import pytest

from gateway.auth.admin_token import AdminVerifier
from gateway.auth.grant import Scope
from gateway.commands.cli import main
from gateway.config.loader import load
from gateway.settings.token_key import Algorithm

SETTINGS = """\
upstreams: {default: {urls: [http://127.0.0.1:9000]}}
control: {admin: {audience: gw, issuer: me, max_lifetime: 30m, keys: [KEYS]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    return tmp_path


def configure(folder: Path, *keys: str) -> None:
    (folder / "config/gateway.yaml").write_text(SETTINGS.replace("KEYS", ", ".join(keys)))


def key(algorithm: Algorithm, stem: str = "secrets/admin", kid: str = "admin") -> str:
    kind, suffix = ("secret_file", "key") if algorithm == "HS256" else ("public_key_file", "pem")
    return f"{{kid: {kid}, algorithm: {algorithm}, {kind}: ../{stem}.{suffix}}}"


def verifier() -> AdminVerifier:
    admin = load(Path("config/gateway.yaml")).settings.control.admin
    assert admin is not None
    return AdminVerifier(admin)


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_new_key_signs_tokens_that_the_gateway_accepts(
    algorithm: Algorithm, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "keygen", "--algorithm", algorithm]) == 0
    printed = capsys.readouterr().out
    assert f"- kid: admin\n  algorithm: {algorithm}\n" in printed
    assert (folder / "secrets/admin.key").stat().st_mode & 0o777 == 0o600
    configure(folder, key(algorithm))
    assert main(["token", "issue", "--subject", "ana", "--scope", "reload", "--scope", "check", "--ttl", "15m"]) == 0
    grant = verifier().verify(capsys.readouterr().out.strip())
    assert (grant.subject, grant.scopes) == ("ana", frozenset({"reload", "check"}))
    assert 890 < grant.expires_at - time.time() <= 900


def test_the_key_is_selected_by_its_type_or_its_kid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["token", "keygen"])
    main(["token", "keygen", "--out", "secrets/next"])
    main(["token", "keygen", "--out", "secrets/shared", "--algorithm", "HS256"])
    configure(
        folder, key("EdDSA"), key("EdDSA", "secrets/next", "next"), key("HS256", "secrets/shared", "shared")
    )  # fmt: skip
    capsys.readouterr()
    by_key = ["--key", "secrets/next.key"]
    for more in ([], by_key, ["--kid", "next", *by_key], ["--kid", "shared"]):
        assert main(["token", "issue", "--subject", "ana", "--scope", "check", *more]) == 0
        assert verifier().verify(capsys.readouterr().out.strip()).covers(Scope.CHECK)


def test_a_key_for_a_service_signs_long_tokens_for_its_scopes_and_no_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["token", "keygen"])
    configure(folder, key("EdDSA").replace("}", ", scopes: [check], longest: 30d}"))
    capsys.readouterr()
    asking = ["token", "issue", "--subject", "shop", "--scope", "check"]
    assert main([*asking, "--ttl", "30d"]) == 0
    assert verifier().verify(capsys.readouterr().out.strip()).scopes == {"check"}
    assert main([*asking, "--ttl", "31d"]) == 1
    assert "--ttl is longer than the key's longest" in capsys.readouterr().err
    assert main([*asking, "--scope", "limits:write"]) == 1
    error = "gateway: this key may not permit limits:write; its scopes are check\n"
    assert capsys.readouterr().err == error


def test_a_key_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "keygen"]) == 0
    before = (folder / "secrets/admin.key").read_bytes()
    assert main(["token", "keygen"]) == 1
    assert capsys.readouterr().err == "gateway: secrets/admin.key: File exists\n"
    assert (folder / "secrets/admin.key").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["--ttl", "31m"],
            "--ttl is longer than control.admin.max_lifetime, 1800 s",
        ),
        (["--key", "absent"], "absent: No such file or directory"),
        (["--key", "config/gateway.yaml", "--kid", "other"], "the gateway has no HS256 key with kid other"),
        (["--key", "other.key"], "the gateway's EdDSA key does not match this private key"),
        (["--key", "short"], "a secret for HS256 is at least 32 bytes long, this one has 5"),
        (["--key", "secrets/admin.pem"], "secrets/admin.pem is not an unencrypted private key in PEM"),
    ],
)
def test_why_a_token_cannot_be_issued_is_reported(
    arguments: list[str], error: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["token", "keygen"])
    main(["token", "keygen", "--out", "other"])
    (folder / "short").write_text("short")
    configure(folder, key("EdDSA"))
    capsys.readouterr()
    assert main(["token", "issue", "--subject", "ana", "--scope", "check", *arguments]) == 1
    assert capsys.readouterr().err == f"gateway: {error}\n"


@pytest.mark.parametrize(
    "arguments", [["--ttl", "forever"], ["--ttl", "0s"], ["--scope", "everything"], ["--subject", " "]]
)
def test_an_invalid_lifetime_scope_or_subject_is_rejected(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["token", "issue", "--subject", "ana", "--scope", "check", *arguments])


def test_without_admin_settings_nothing_is_issued(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config/gateway.yaml").write_text("upstreams: {default: {urls: [http://127.0.0.1:9000]}}\n")
    assert main(["token", "issue", "--subject", "ana", "--scope", "check"]) == 1
    assert "this gateway accepts no tokens" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("algorithm", "other"),
    [("RS256", "EdDSA"), ("EdDSA", "ES256"), ("ES256", "RS256"), ("ES256", "EdDSA"), ("ES384", "ES256")],
)
def test_a_key_of_another_algorithm_is_a_configuration_error(
    algorithm: Algorithm, other: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["token", "keygen", "--algorithm", algorithm])
    configure(folder, key(algorithm).replace(f"algorithm: {algorithm}", f"algorithm: {other}"))
    assert main(["check", "--config", "config/gateway.yaml"]) == 2
    assert f"this is not a key for {other}" in capsys.readouterr().err
