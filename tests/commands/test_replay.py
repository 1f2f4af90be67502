"""`gateway replay` says what new rules would have done to the requests in an access log."""

import gzip
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.cli import main

OLD = "limits: [{name: each, per: user, rate: 1/s, burst: 5}]\n"
NEW = """\
endpoints: [{name: orders, path: /orders}, {name: shop, host: shop.example, path: '/{rest...}'}]
limits:
  - {name: each, per: user, rate: 1/s, burst: 3, exempt: {users: [bob]}}
  - {name: trial, per: user, rate: 1/s, burst: 1, enforce: false}
"""
LINE = '192.0.2.{} - {} [31/Jan/2026:23:59:{:02} +0000] "GET /orders?token=secret HTTP/1.1" 200 5 "-" "curl/8"\n'

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rules, settings, and a log of five requests in one second of each of three callers."""
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text(NEW)
    (tmp_path / "gateway.yaml").write_text("upstreams: {default: {urls: [http://127.0.0.1:9]}}\nrules: old.yaml\n")
    lines = [LINE.format(number, user, 5) for _ in range(5) for number, user in ((7, "ana"), (8, "bob"), (9, "-"))]
    (tmp_path / "access.log").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replay(*arguments: str) -> int:
    return main(["replay", *arguments, "--rules", "new.yaml", "--config", "gateway.yaml"])


def replayed(capsys: Printed, *arguments: str) -> dict[str, Any]:
    assert replay(*arguments, "--json") == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_new_rules_are_compared_with_those_that_the_settings_name(capsys: Printed) -> None:
    assert replay("access.log") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("""\
access.log: 15 requests of 3 callers, 2026-01-31T23:59Z to 2026-01-31T23:59Z

RULES   FROM      REFUSED    SHARE
before  old.yaml        0   0.000%
new     new.yaml        4  26.667%

newly refused: 4 requests (26.667%) of 2 callers
no longer refused: 0 requests

LIMIT  REFUSED BEFORE  REFUSED  NEWLY  CALLERS
each                0        4      4        2

LIMIT  CALLER     NEWLY REFUSED
each   ana        2
each   192.0.2.9  2

What this cannot say:
""")
    assert "may wait, or try again at once" in printed.out
    assert "NAT" in printed.out
    assert "secret" not in printed.out


def test_other_rules_to_compare_with_can_be_named(capsys: Printed) -> None:
    found = replayed(capsys, "access.log", "--against", "new.yaml")
    assert (found["newly_refused"], found["against"]) == (0, {"rules": "new.yaml", "refused": 4})


def test_without_settings_nothing_was_limited_before(folder: Path, capsys: Printed) -> None:
    (folder / "gateway.yaml").unlink()
    assert main(["replay", "access.log", "--rules", "new.yaml"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "before  none: nothing is limited" in printed.out


@pytest.mark.parametrize(("share", "code"), [("30%", 0), ("26.7%", 0), ("26%", 1), ("0", 1), ("0%", 1)])
def test_a_larger_share_that_is_newly_refused_fails(share: str, code: int, capsys: Printed) -> None:
    assert replay("access.log", "--at-most", share) == code
    assert ("26.667% of the requests would be newly refused" in capsys.readouterr().err) is bool(code)


@pytest.mark.parametrize("share", ["0.1", "x%", "-1%", "101%", "1000%", ""])
def test_a_share_has_a_percent_sign(share: str, capsys: Printed) -> None:
    with pytest.raises(SystemExit) as stopped:
        replay("access.log", f"--at-most={share}")
    assert stopped.value.code == 2
    assert "write it as in 0.1%" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["-1", "x", "1000000000"])
def test_the_number_of_callers_to_list_is_bounded(number: str, capsys: Printed) -> None:
    with pytest.raises(SystemExit) as stopped:
        replay("access.log", f"--top={number}")
    assert stopped.value.code == 2
    assert "is not a number of callers" in capsys.readouterr().err


@pytest.mark.parametrize("pattern", ["(", "user", "(?P<name>.)"])
def test_a_pattern_has_named_groups(pattern: str, capsys: Printed) -> None:
    with pytest.raises(SystemExit) as stopped:
        replay("access.log", "--pattern", pattern)
    assert stopped.value.code == 2
    assert "regular expression" in (said := capsys.readouterr().err) or "named groups" in said


def test_a_pattern_says_who_the_caller_is(capsys: Printed) -> None:
    found = replayed(capsys, "access.log", "--pattern", "(?P<user>curl)")
    assert [each["caller"] for each in found["callers_newly_refused"]] == ["curl"]


def test_logs_may_be_compressed_and_several_and_standard_input(
    folder: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (folder / "access.log").read_bytes().splitlines(keepends=True)
    (folder / "1.gz").write_bytes(gzip.compress(b"".join(lines[9:])))
    (folder / "2.log").write_bytes(b"".join(lines[4:9]))
    standard_input = io.TextIOWrapper(io.BufferedReader(io.BytesIO(gzip.compress(b"".join(lines[:4])))))
    monkeypatch.setattr(sys, "stdin", standard_input)
    found = replayed(capsys, "1.gz", "2.log", "-")
    assert (found["requests"], found["newly_refused"]) == (15, 4)
    assert replay("2.log", "2.log") == 2
    assert "named twice" in capsys.readouterr().err


def test_bad_lines_are_counted_and_the_first_ones_named(folder: Path, capsys: Printed) -> None:
    bad = ["what?\n", "{}\n", "\x00\x1b[2J\n", "\n", "x" * 200_000 + "\n", "[\n", "]"]
    (folder / "access.log").write_text((folder / "access.log").read_text() + "".join(bad))
    assert replay("access.log") == 0
    printed = capsys.readouterr()
    assert "left out: 7 lines that could not be parsed" in printed.out
    assert printed.err.splitlines() == [
        'warning: access.log:16:1: it is not in the common format: address - user [time] "request" status',
        "warning: access.log:17:1: it is JSON, but not a line of the gateway's log: it has no event",
        'warning: access.log:18:1: it is not in the common format: address - user [time] "request" status',
        'warning: access.log:19:1: it is not in the common format: address - user [time] "request" status',
        "warning: access.log:20:1: it is longer than 65536 bytes",
        "warning: 2 more lines could not be parsed",
    ]


def test_a_compressed_log_that_is_cut_off_counts_as_far_as_it_goes(folder: Path, capsys: Printed) -> None:
    whole = gzip.compress((folder / "access.log").read_bytes() * 300)
    (folder / "access.log").write_bytes(whole[:-20])
    assert replay("access.log") == 0
    assert "the compressed data are damaged or cut off here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there are no requests in the log"),
        (b"\n\n\n", "3 of 3 lines could not be parsed"),
        (b"\x00" * 500_000, "1 of 1 lines could not be parsed"),
        (b"\x1f\x8b\x08 damaged", "1 of 1 lines could not be parsed"),
        (b'{"event": "started"}\n', "there are no requests in the log"),
    ],
)
def test_a_log_without_requests_cannot_be_used(content: bytes, message: str, folder: Path, capsys: Printed) -> None:
    (folder / "access.log").write_bytes(content)
    assert replay("access.log", "--at-most", "100%") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err


def test_files_that_cannot_be_used_are_named(folder: Path, capsys: Printed) -> None:
    for log, why in (("none.log", "No such file or directory"), (".", "Is a directory")):
        assert replay(log) == 2
        assert f"{log} cannot be read: {why}" in capsys.readouterr().err
    assert replay("access.log", "--html", "none/x.html") == 2
    assert "--html none/x.html cannot be written" in capsys.readouterr().err
    (folder / "new.yaml").write_text("limits: [{name: each}]\n")
    assert replay("access.log") == 2
    assert "new.yaml:1:10" in capsys.readouterr().err


def test_the_web_page_has_a_chart_of_refusals_over_time_by_limit(folder: Path, capsys: Printed) -> None:
    lines = [
        f'192.0.2.7 - <b> [31/Jan/2026:23:{minute:02}:05 +0000] "GET /orders HTTP/1.1" 200 5\n'
        for minute in range(0, 60, 5)
        for _ in range(8)
    ]
    (folder / "access.log").write_text("".join(lines))
    assert replay("access.log", "--html", "page.html") == 0
    capsys.readouterr()
    page = (folder / "page.html").read_text()
    assert page.count("<title>2026-01-31T23:") == 24  # columns, of both rules
    assert "<h2>What this cannot say</h2>" in page
    assert "&lt;b&gt;" in page
    assert "<b>  " not in page
    assert "<script" not in page


def test_what_both_rules_warn_of_is_said_once(folder: Path, capsys: Printed) -> None:
    trusted = "{sources: [trusted_header: {header: X-User}, client_address], trusted_proxies: [10.0.0.1]}"
    with (folder / "gateway.yaml").open("a") as settings:
        settings.write(f"identity: {trusted}\n")
    assert replay("access.log") == 0
    assert capsys.readouterr().err.count("believed from 10.0.0.1") == 1


def test_a_name_does_nothing_to_the_terminal(folder: Path, capsys: Printed) -> None:
    (folder / "access.log").write_text(LINE.format(7, "\x1b[2Jana", 5) * 9)
    assert replay("access.log", "--pattern", "- (?P<user>.*) .31/") == 2  # a bracket ends what stands before the time
    (folder / "access.log").write_text(LINE.format(7, "\x1bana", 5) * 9)
    capsys.readouterr()
    assert replay("access.log") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_name_that_is_no_text_is_written_all_the_same(folder: Path, capsys: Printed) -> None:
    line = LINE.format(7, "J\u00f6rg", 5).encode() + LINE.format(7, "\udcff", 5).encode(errors="surrogateescape")
    (folder / "access.log").write_bytes(line * 5)
    assert replay("access.log", "--html", "page.html") == 0
    assert "J\u00f6rg" in (printed := capsys.readouterr().out)
    assert '"\\udcff"' in printed
    assert "J\u00f6rg" in (folder / "page.html").read_text()


def own(**fields: object) -> str:
    line = {
        "time": "2026-01-31T23:59:05.000Z", "event": "request", "endpoint": "gone", "outcome": "allowed", "status": 200,
        "ms": 1.5, "caller": "0" * 32, "source": "jwt",
    }  # fmt: skip
    return json.dumps(line | fields) + "\n"


def test_what_the_gateways_own_log_does_not_have_is_said(folder: Path, capsys: Printed) -> None:
    (folder / "gateway.yaml").write_text(
        "upstreams: {default: {urls: [http://127.0.0.1:9]}}\nrules: old.yaml\naccess_log: 0.01\n"
    )
    (folder / "access.log").write_text(own() * 5 + own(outcome="refused") + own(event="started"))
    found = replayed(capsys, "access.log")
    assert (found["requests"], found["refused_then"], found["lines_of_other_events"]) == (6, 1, 1)
    said = "\n".join(found["caveats"])
    for each in (
        "logs only 0.01 of all requests",
        "has no paths",
        "New ones get no requests: orders, shop.",
        "count as the default endpoint: gone.",
        "recognized if the log was written with the hash key",
        "got a 429 when they were made: 1.",
    ):
        assert each in said


def test_there_is_a_progress_bar_on_a_terminal_only(
    folder: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "access.log").write_text((folder / "access.log").read_text() * 1_000)
    assert replay("access.log") == 0
    assert "\x1b" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert replay("access.log") == 0
    assert re.search(r"\[#+\.*\] +\d+%", capsys.readouterr().err)
