"""`gateway caller` prints the digest that logs, Redis and reports have, without asking anything."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from gateway.commands.caller import address_digest
from gateway.commands.cli import main
from tests.kit.identity import make_identity

KEY = "0123456789abcdef"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HASH_KEY", KEY)
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "upstreams: {default: {urls: [http://127.0.0.1:9]}}\n"
        "store: {url: redis://127.0.0.1:1/0}\n"
        "identity: {sources: [client_address], hash_key_env: HASH_KEY}\n"
    )
    return str(file)


def caller(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["caller", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_users_and_addresses_have_the_digest_under_which_they_are_counted(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = make_identity(hash_key=KEY.encode())
    for who in (["ana"], ["user", "ana"]):
        assert caller(capsys, *who, "--config", config) == (0, identity.user("ana").digest.decode() + "\n", "")
    assert caller(capsys, "user", "address", "--config", config)[1] == identity.user("address").digest.decode() + "\n"
    assert caller(capsys, "address", "--config", config)[1] == identity.user("address").digest.decode() + "\n"
    expected = address_digest(identity, ip_address("192.0.2.7")) + "\n"
    assert caller(capsys, "address", "192.0.2.7", "--config", config) == (0, expected, "")
    of_network = {caller(capsys, "address", f"2001:db8::{n}", "--config", config)[1] for n in (1, 2)}
    assert len(of_network) == 1


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (["address", "ana"], "'ana' is not an IP address"),
        (["ana", "bob"], "name one caller"),
        (["user", "ana", "bob"], "name one caller"),
    ],
)
def test_what_names_no_caller_is_rejected(
    config: str, who: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = caller(capsys, *who, "--config", config)
    assert (code, out) == (1, "")
    assert why in err
