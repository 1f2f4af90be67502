"""`gateway keys hash`: the gateway knows the key whose record it makes."""

import io
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.commands.cli import main
from gateway.config.api_key_file import parse_api_keys
from gateway.limits.identity_source import Claim

KEY = "k" * 32
Pipe = Callable[[bytes], None]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    return lambda content: monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize(
    ("flags", "claim"),
    [
        ((), Claim("änn")),
        (("--tier", "gold", "--attribute", "org=a=b"), Claim("änn", "gold", {"org": "a=b"})),
    ],
)
def test_a_record_is_a_line_of_a_file(
    end: str, flags: tuple[str, ...], claim: Claim, pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe((KEY + end).encode())
    assert main(["keys", "hash", "--user", "änn", *flags]) == 0
    printed = capsys.readouterr()
    assert parse_api_keys(Path("x"), printed.out.encode(), ["org"], lambda: None) == {
        sha256(KEY.encode()).hexdigest(): claim
    }
    assert printed.err == ""


@pytest.mark.parametrize("content", [b"", b"\n", b"two words" * 9, b"k\n" * 9, "schlüssel".encode() * 9, b"k" * 8191])
def test_what_is_no_key_is_refused_and_not_shown(
    content: bytes, pipe: Pipe, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(content)
    assert main(["keys", "hash", "--user", "ana"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "words" not in printed.err


def test_a_short_key_is_warned_of(pipe: Pipe, capsys: pytest.CaptureFixture[str]) -> None:
    pipe(b"hunter2")
    assert main(["keys", "hash", "--user", "ana"]) == 0
    printed = capsys.readouterr()
    assert "the key has 7 characters" in printed.err
    assert "hunter2" not in printed.out + printed.err


def test_a_user_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    for user in ([], ["--user", "ana", "--attribute", "org"], ["--user", " "]):
        with pytest.raises(SystemExit):
            main(["keys", "hash", *user])
    assert "spaces around it" in capsys.readouterr().err
