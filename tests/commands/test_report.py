"""`gateway report`, as an operator types it."""

import asyncio
import time
from pathlib import Path

import pytest

from gateway.analytics.files import FileSink
from gateway.commands.cli import main
from tests.analytics.builders import DAY, batch
from tests.kit.identity import make_identity

SETTINGS = """
upstreams: {default: {urls: [http://127.0.0.1:9]}}
identity: {sources: [client_address], hash_key_env: HASH_KEY}
"""
KEY = "0123456789abcdef"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HASH_KEY", KEY)
    file = tmp_path / "gateway.yaml"
    file.write_text(f"{SETTINGS}analytics: {{folder: counted}}\n")
    now = int(time.time()) // 60 * 60
    identity = make_identity(hash_key=KEY.encode())
    sink = FileSink(tmp_path / "counted", 30 * DAY)
    asyncio.run(sink.put(batch(5, minute=now - 7200, hits=[(identity.user("ana").digest.decode(), 5)])))
    asyncio.run(sink.put(batch(2, minute=now - 120, hits=[(identity.user("bob").digest.decode(), 2)])))
    asyncio.run(sink.put(batch(0, minute=now - 60, spent=[(identity.user("cleo").digest.decode(), 40)])))
    return str(file)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["report", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_since_and_until_are_ages_or_instants(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "7 requests decided, 7 refused" in report(capsys, "--config", config)[1]
    assert "2 requests decided" in report(capsys, "--config", config, "--since", "1h")[1]
    assert "5 requests decided" in report(capsys, "--config", config, "--since", "3h", "--until", "1h")[1]
    assert "7 requests decided" in report(capsys, "--config", config, "--since", "2026-01-31T23:59Z")[1]
    code, out, err = report(capsys, "--config", config, "--since", "1h", "--until", "2h")
    assert (code, out) == (1, "")
    assert "--since is not before --until" in err


@pytest.mark.parametrize("arguments", [["--since", "soon"], ["--since", "1w"], ["--top", "0"], ["--address", "x"]])
def test_invalid_arguments_are_rejected(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["report", *arguments])
    assert error.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_customer_is_found_by_user_id_or_address(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    digest = make_identity(hash_key=KEY.encode()).user("ana").digest.decode()
    printed = report(capsys, "--config", config, "--user", "ana")[1]
    assert f"caller {digest}\n" in printed
    assert f"each   {digest}  5" in printed
    assert "ana" not in printed
    printed = report(capsys, "--config", config, "--address", "2001:db8::1")[1]
    assert printed == report(capsys, "--config", config, "--address", "2001:db8::2")[1]
    assert "This caller is not among those that were refused most." in printed


def test_an_endpoint_is_reported_on_with_the_names_of_a_file(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "users.txt").write_text("\ufeffcleo\r\nana\n\n  bob \n")
    names = ("--names", str(tmp_path / "users.txt"))
    printed = report(capsys, "--config", config, "--endpoint", "orders", *names)[1]
    assert "endpoint orders: 7 requests decided" in printed
    assert "orders         0        7            0  each 7" in printed
    assert "orders    each   cleo    40    100.0%" in printed
    assert "each   ana     5\neach   bob     2" in printed
    assert report(capsys, "--config", config, "--endpoint", "default")[1].endswith("no requests decided\nfrom " + str(
        tmp_path / "counted") + "\n")  # fmt: skip
    code, _, err = report(capsys, "--config", config, "--endpoint", "order")
    assert (code, "no endpoint is named order; there are default, orders" in err) == (1, True)
    (tmp_path / "users.txt").write_bytes(b"\xff")
    assert "users.txt: it is not in UTF-8" in report(capsys, "--config", config, *names)[2]
    assert "none.txt: No such file" in report(capsys, "--config", config, "--names", str(tmp_path / "none.txt"))[2]


def test_a_page_is_written(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert report(capsys, "--config", config, "--html", str(page)) == (0, f"{page}\n", "")
    assert page.read_text().count("<rect") == 8
    code, _, err = report(capsys, "--config", config, "--html", str(tmp_path / "no" / "page.html"))
    assert (code, "No such file" in err) == (1, True)


def test_without_analytics_the_missing_section_is_reported(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(config).write_text(SETTINGS)
    code, _, err = report(capsys, "--config", config)
    assert (code, "has no section analytics" in err) == (1, True)


def test_a_database_that_is_away_is_report(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(config).write_text(
        f"{SETTINGS}analytics: {{postgres: {{url: 'postgresql://gw@127.0.0.1:1/counted', tls: false}}}}\n"
    )
    code, _, err = report(capsys, "--config", config)
    assert code == 1
    assert "gateway: postgresql://gw@127.0.0.1:1/counted: " in err
