"""`gateway token`: what it makes is what the gateway takes."""

import time
from pathlib import Path

import pytest

from gateway.auth.admin_token import AdminVerifier
from gateway.auth.grant import Scope
from gateway.auth.signing import Algorithm
from gateway.commands.cli import main
from gateway.config.loader import load
from tests.auth.keys import ALGORITHMS

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


def warden() -> AdminVerifier:
    admin = load(Path("config/gateway.yaml")).settings.control.admin
    assert admin is not None
    return AdminVerifier(admin)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_signs_tokens_that_the_gateway_takes(
    algorithm: Algorithm, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "keygen", "--algorithm", algorithm]) == 0
    said = capsys.readouterr().out
    assert f"- kid: admin\n  algorithm: {algorithm}\n" in said
    assert (folder / "secrets/admin.key").stat().st_mode & 0o777 == 0o600
    configure(folder, key(algorithm))
    assert main(["token", "issue", "--subject", "ana", "--scope", "reload", "--scope", "check", "--ttl", "15m"]) == 0
    grant = warden().verify(capsys.readouterr().out.strip())
    assert (grant.subject, grant.scopes) == ("ana", frozenset({"reload", "check"}))
    assert 890 < grant.expires_at - time.time() <= 900


def test_the_key_is_picked_by_its_kind_or_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
        assert warden().verify(capsys.readouterr().out.strip()).covers(Scope.CHECK)


def test_a_key_is_never_written_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "keygen"]) == 0
    before = (folder / "secrets/admin.key").read_bytes()
    assert main(["token", "keygen"]) == 1
    assert capsys.readouterr().err == "gateway: secrets/admin.key: File exists\n"
    assert (folder / "secrets/admin.key").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ttl", "31m"], "this gateway takes tokens that live 1800 s at most"),
        (["--key", "absent"], "absent: No such file or directory"),
        (["--key", "config/gateway.yaml", "--kid", "other"], "the gateway has no HS256 key called other"),
        (["--key", "other.key"], "the gateway's EdDSA key is not for this private key"),
        (["--key", "short"], "a secret for HS256 is at least 32 bytes long, this one has 5"),
        (["--key", "secrets/admin.pem"], "secrets/admin.pem is not an unencrypted private key in PEM"),
    ],
)
def test_what_cannot_be_issued_is_said(
    arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["token", "keygen"])
    main(["token", "keygen", "--out", "other"])
    (folder / "short").write_text("short")
    configure(folder, key("EdDSA"))
    capsys.readouterr()
    assert main(["token", "issue", "--subject", "ana", "--scope", "check", *arguments]) == 1
    assert capsys.readouterr().err == f"gateway: {said}\n"


@pytest.mark.parametrize(
    "arguments", [["--ttl", "forever"], ["--ttl", "0s"], ["--scope", "everything"], ["--subject", " "]]
)
def test_a_lifetime_and_a_scope_are_known_words_and_somebody_is_named(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["token", "issue", "--subject", "ana", "--scope", "check", *arguments])


def test_without_admin_settings_nothing_is_issued(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config/gateway.yaml").write_text("upstreams: {default: {urls: [http://127.0.0.1:9000]}}\n")
    assert main(["token", "issue", "--subject", "ana", "--scope", "check"]) == 1
    assert "no token is good for this gateway" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("algorithm", "other"), [("RS256", "EdDSA"), ("EdDSA", "ES256"), ("ES256", "RS256"), ("ES256", "EdDSA")]
)
def test_a_key_of_another_kind_keeps_the_gateway_from_starting(
    algorithm: Algorithm, other: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["token", "keygen", "--algorithm", algorithm])
    configure(folder, key(algorithm).replace(f"algorithm: {algorithm}", f"algorithm: {other}"))
    assert main(["check", "--config", "config/gateway.yaml"]) == 2
    assert f"this is not a key for {other}" in capsys.readouterr().err
