"""The audit log of a running gateway, and `gateway audit`."""

import asyncio
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import pytest

from gateway.auth.grant import Actor
from gateway.commands.cli import main
from gateway.control.audit.chain import verify_chain
from gateway.control.audit.entry import Entry
from gateway.control.audit.log_file import AuditLog, AuditLogError
from gateway.control.audit.writer import AuditWriter, Head
from gateway.control.errors import AuditUnavailableError
from gateway.redis.open import connected
from gateway.settings.store import Store
from gateway.settings.url import RedisUrl
from gateway.telemetry.log import open_log
from tests.auth.keys import token
from tests.control.running import gateway
from tests.redis_server import redis_server

PATH = "/api/v1/admin/audit"
READ = token("audit:read")


async def test_every_refused_attempt_is_a_line(tmp_path: Path) -> None:
    async with gateway(control={"state": tmp_path}) as running:
        assert (await running.call("GET", PATH)).status == 401
        assert (await running.call("GET", PATH, token=token("check", jti="j1"))).status == 403
        page = (await running.call("GET", PATH, token=READ)).body
    assert page["next"] is None
    first, second = page["entries"]
    assert (first["actor"], first["action"], first["target"]) == ("(unknown)", "refused", f"GET {PATH}")
    assert (first["reason"], first["source"]) == ("no Authorization header", "127.0.0.1")
    assert (second["actor"], second["jti"], second["reason"]) == (
        "ana",
        "j1",
        "the token does not have the scope audit:read",
    )
    assert second["rules"] == "cafe00000001"
    assert verify_chain(AuditLog(tmp_path / "audit.jsonl").lines()) is not None


async def test_the_log_is_read_in_pages(tmp_path: Path) -> None:
    ledger = AuditLog(tmp_path / "audit.jsonl")
    for number in range(5):
        ledger.append(Entry("reset", str(number)), "r")
    seen: list[str] = []
    after: int | None = 0
    async with gateway(control={"state": tmp_path}) as running:
        while after is not None:
            page = (await running.call("GET", f"{PATH}?after={after}&limit=2", token=READ)).body
            seen += [entry["target"] for entry in page["entries"]]
            after = page["next"]
        for query in ("after=-1", "after=x", "limit=0", "limit=1001", "limit=1&limit=2", "after=1.0", "limits=1"):
            assert (await running.call("GET", f"{PATH}?{query}", token=READ)).status == 400
    assert seen == ["0", "1", "2", "3", "4"]


def test_an_entry_is_shown_on_one_line_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "audit.jsonl"
    AuditLog(file).append(Entry("reset", "user 1f", "ana", reason="Zoë\n     2  forged\x1b[2J\x7f\u202e"), "r")
    assert main(["audit", "show", str(file)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(r"(Zoë\n     2  forged\x1b[2J\x7f\u202e)")


def append_many(file: Path, count: int) -> None:
    for _ in range(count):
        AuditLog(file, 20_000).append(Entry("reset", str(os.getpid())), "r")


@pytest.mark.untraced
def test_workers_append_to_one_log(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=append_many, args=(file, 50)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    end = verify_chain(AuditLog(file).lines())
    assert end is not None
    assert end.sequence == 200


def fill_up(file: Path, size: int) -> None:
    """Write until the file may not become larger, as on a full disk; then say so with the exit code."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        for _ in range(1000):
            AuditLog(file).append(Entry("reset"), "r")
    except AuditLogError:
        os._exit(7)


def test_a_full_disk_is_an_error_and_leaves_a_log_that_holds(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    worker = multiprocessing.get_context("spawn").Process(target=fill_up, args=(file, 3333))
    worker.start()
    worker.join()
    assert worker.exitcode == 7
    assert 2500 < file.stat().st_size <= 3333
    assert verify_chain(AuditLog(file).lines()) is not None


async def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    log = open_log()
    counted: list[str] = []
    for ledger in (AuditLog(tmp_path / "audit.jsonl"), None):
        audit = AuditWriter(ledger, None, lambda: "r", log, counted.append)
        with pytest.raises(AuditUnavailableError):
            await audit.record(Actor("ana"), "reset")
        await audit.record_refusal(Actor("ana"), "x", "y")
        audit.close()
    assert counted == ["failed", "failed"]
    await log.close()


async def test_lines_cut_off_at_the_end_are_found_by_the_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, config = tmp_path / "audit.jsonl", tmp_path / "gateway.yaml"
    async with redis_server() as redis:
        config.write_text(f"upstreams: {{default: {{urls: [http://127.0.0.1:9]}}}}\nstore: {{url: {redis.url}}}\n")
        verify = ["audit", "verify", str(file), "--config", str(config)]
        log = open_log()
        async with connected(Store(RedisUrl.parse(redis.url))) as channel:
            assert channel is not None
            audit = AuditWriter(AuditLog(file), Head(channel, "gateway"), lambda: "r", log, lambda _outcome: None)
            await asyncio.gather(*(audit.record(Actor("ana"), "reset", str(number)) for number in range(5)))
            audit.close()
        await log.close()
        assert await asyncio.to_thread(main, verify) == 0
        assert (
            "lines 1 to 5 are intact: none was changed, added, removed or moved; none is missing at the end"
            in capsys.readouterr().out
        )
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(lines[:3]))
        assert await asyncio.to_thread(main, verify) == 1
        assert "2 lines were removed from the end, according to the head in Redis" in capsys.readouterr().err
        # Whoever makes up the tail anew does not find the hash.
        for _ in range(2):
            AuditLog(file).append(Entry("reset"), "r")
        assert await asyncio.to_thread(main, verify) == 1
        assert "line 5 does not have the hash that is stored in Redis" in capsys.readouterr().err
    assert main(["audit", "verify", str(file)]) == 0


def test_missing_older_lines_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "audit.jsonl"
    for number in range(5):
        AuditLog(file).append(Entry("reset", str(number)), "r")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[2:]))
    assert main(["audit", "verify", str(file)]) == 0
    assert (
        "lines 3 to 5 are intact: none was changed, added, removed or moved; lines 1 to 2 are missing"
        in capsys.readouterr().out
    )


def test_lines_cut_off_at_the_beginning_are_found_with_the_first_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "audit.jsonl"
    for number in range(5):
        AuditLog(file).append(Entry("reset", str(number)), "r")
    assert main(["audit", "verify", str(file), "--from", "1"]) == 0
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[2:]))
    assert main(["audit", "verify", str(file), "--from", "3"]) == 0
    for named in ("1", "2", "4"):
        capsys.readouterr()
        assert main(["audit", "verify", str(file), "--from", named]) == 1
        assert f"the first line is 3, not {named}" in capsys.readouterr().err


def test_the_command_finds_damage_and_shows_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "audit.jsonl"
    for command in ("verify", "show"):
        assert main(["audit", command, str(file)]) == 1
        assert f"{file}: there is no such file" in capsys.readouterr().err
        assert main(["audit", command, str(tmp_path)]) == 1
        assert f"{tmp_path}: Is a directory" in capsys.readouterr().err
    ledger = AuditLog(file)
    ledger.append(Entry("override.set", "user 1f", "ana", "j", "192.0.2.1", None, {"rate": "1/s"}, "asked for it"), "r")
    ledger.append(Entry("reset", "user 2f"), "r")
    assert main(["audit", "show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert 'ana from 192.0.2.1  override.set user 1f: nothing -> {"rate": "1/s"} (asked for it)' in shown
    file.write_bytes(file.read_bytes().replace(b"user 1f", b"user 3f"))
    assert main(["audit", "verify", str(file)]) == 1
    assert "line 1: the line was changed" in capsys.readouterr().err
    assert main(["audit", "show", str(file)]) == 0
    assert "the line was changed" in capsys.readouterr().out


async def test_a_log_that_was_written_anew_is_found_with_the_key_in_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = b"0123456789abcdef0123456789abcdef"
    (tmp_path / "key").write_bytes(key + b"\n")
    (tmp_path / "old").write_bytes(b"o" * 32)
    settings = tmp_path / "gateway.yaml"
    settings.write_text(
        "upstreams: {default: {urls: ['http://127.0.0.1:1']}}\ncontrol: {state: state, audit_key_file: key}\n"
    )
    file = tmp_path / "state" / "audit.jsonl"
    async with gateway(control={"state": tmp_path / "state", "audit_key": key}) as running:
        for _ in range(3):
            assert (await running.call("GET", PATH)).status == 401
    verify = ("audit", "verify", str(file))

    def result(*options: str) -> tuple[int, str]:
        code = main([*verify, *options])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    good = file.read_bytes()
    assert "The HMACs were not verified; pass --config or --key-file" in result()[1]
    for options in (("--config", str(settings)), ("--key-file", str(tmp_path / "key"))):
        code, text = await asyncio.to_thread(result, *options)
        assert (code, "lines 1 to 3 are intact: none was changed, added, removed or moved;" in text) == (0, True)
    code, text = result("--key-file", str(tmp_path / "old"))
    assert (code, "line 1: the line was changed, or written with another key" in text) == (1, True)

    file.unlink()
    for _ in range(3):
        AuditLog(file).append(Entry("reset"), "r")  # somebody without the key
    code, text = result()
    assert (code, "anyone who can write the file can compute new ones" in text) == (0, True)
    code, text = await asyncio.to_thread(result, "--config", str(settings))
    assert (code, "line 3, the last one, was written without a key" in text) == (1, True)
    file.write_bytes(good)
    assert result("--key-file", str(tmp_path / "missing"))[0] == 1


def test_a_short_audit_key_is_refused_and_no_message_shows_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("hunter2hunter2")
    settings = tmp_path / "gateway.yaml"
    settings.write_text(
        "upstreams: {default: {urls: ['http://127.0.0.1:1']}}\ncontrol: {state: state, audit_key_file: key}\n"
    )
    assert main(["check", "--config", str(settings)]) == 2
    printed = capsys.readouterr()
    assert "2:41: control.audit_key_file: a key of the audit log has at least 32 bytes, this one has 14" in printed.err
    assert "hunter2" not in printed.out + printed.err
