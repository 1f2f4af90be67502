"""`gateway reload`, `override`, `usage` and `status`, typed by an operator next to a running gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, chdir, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.commands.cli import main
from tests.kit.process import Process, cli, gateway, run
from tests.redis_server import redis_server
from tests.wire import ask, get, upstream

RULES = """\
endpoints: [{name: orders, path: /orders}]
limits: [{name: everyone, per: user, rate: 2/day, burst: 2}]
"""
TESTS = """\
tests:
  - name: two a day
    as: {user: ana}
    steps:
      - {request: GET /orders, times: 2, expect: allowed}
      - {request: GET /orders, expect: refused}
"""
SOURCES = "trusted_header: {header: X-User-Id}"
SETTINGS = """\
identity: {sources: [SOURCES], trusted_proxies: [127.0.0.0/8]}
control:
  state: state
  admin:
    audience: rate-limiting-gateway
    issuer: operations
    keys: [{kid: admin, algorithm: ALGORITHM, FILE}]
upstreams: {default: {urls: ["http://127.0.0.1:PORT"]}}
rules: rules.yaml
"""
KEYS = {"EdDSA": "public_key_file: secrets/admin.pem", "HS256": "secret_file: secrets/admin.key"}


class Operated(NamedTuple):
    """A gateway, and the folder that its operator works in."""

    process: Process
    folder: Path
    public: int
    control: int
    scheme: str = "http"

    async def says(self, *command: str, code: int = 0) -> str:
        """What a command prints. It runs in a thread of this process, which spares its start."""
        flags = ("--config", "gateway.yaml", "--url", f"{self.scheme}://127.0.0.1:{self.control}")
        with chdir(self.folder), StringIO() as printed, redirect_stdout(printed), redirect_stderr(printed):
            ended = await asyncio.to_thread(main, [*command, *flags])
            output = printed.getvalue()
        assert ended == code, output
        return output

    async def statuses(self, user: str, count: int) -> list[int]:
        return [(await ask(self.public, get("/orders", f"X-User-Id: {user}"))).status for _ in range(count)]


@asynccontextmanager
async def operated(
    folder: Path,
    algorithm: str = "EdDSA",
    *,
    control: str = "",
    more: str = "",
    rules: str = RULES,
    sources: str = SOURCES,
) -> AsyncIterator[Operated]:
    """Run a gateway with more in its settings, and more in the section `control`."""
    code, output = await run(*cli("token", "keygen", "--algorithm", algorithm), cwd=folder)
    assert code == 0, output
    (folder / "rules.yaml").write_text(rules)
    async with upstream() as up:
        settings = SETTINGS.replace("SOURCES", sources).replace("ALGORITHM", algorithm).replace("FILE", KEYS[algorithm])
        settings = settings.replace("  state: state\n", f"  state: state\n{control}") + more
        (folder / "gateway.yaml").write_text(settings.replace("PORT", str(up.port)))
        async with gateway("--config", folder / "gateway.yaml") as (process, public, port):
            yield Operated(process, folder, public, port, "https" if "tls:" in control else "http")


async def test_a_calendar_quota_is_loaded_enforced_shown_and_overridden(tmp_path: Path) -> None:
    quota = "quota: 2/month, zone: Europe/Berlin, from_day: 15"
    async with (
        redis_server() as redis,
        operated(tmp_path, more=f"store: {{url: '{redis.url}', deadline: 5s}}\nworkers: 1\n") as running,
    ):
        (tmp_path / "rules.yaml").write_text(RULES.replace("rate: 2/day, burst: 2", quota))
        assert "2/month" in await running.says("reload")
        assert await running.statuses("ana", 3) == [200, 200, 429]
        assert "everyone  0 of 2 left  quota 2/month  full at " in await running.says("usage", "ana")
        more = ("--quota", "3/month", "--for", "1h", "--reason", "order 7")
        assert (await running.says("override", "set", "ana", *more)).startswith("ana  3/month  until ")
        assert await running.statuses("ana", 2) == [200, 429]
        said = await running.says("explain", "GET /orders", "--user", "ana", "--running")
        assert "everyone  user  3/month  -" in said
        assert "It would be refused by everyone, until " in said
        assert "no such limit" in await running.says("override", "set", "ana", "--quota", "3/day", *more[2:], code=1)


@pytest.mark.parametrize("algorithm", KEYS)
async def test_an_override_is_set_listed_and_removed_with_a_token_made_from_the_key(
    algorithm: str, tmp_path: Path
) -> None:
    async with operated(tmp_path, algorithm) as running:
        assert await running.says("override", "list") == "no overrides\n"
        said = await running.says("override", "set", "ana", "--block", "--for", "60s", "--reason", "abuse")
        assert said.startswith("ana  block  until ")
        assert await running.statuses("ana", 1) == [429]
        more = ("--rate", "6000/minute", "--for", "1h", "--reason", "sale", "--json")
        said = json.loads(await running.says("override", "set", "ana", *more))
        assert (said["rate"], said["burst"]) == ("6000/minute", 6000)
        assert await running.statuses("ana", 5) == [200] * 5
        listed = json.loads(await running.says("override", "list", "--json"))
        assert [each["user"] for each in listed["overrides"]] == ["ana"]
        assert await running.says("override", "rm", "ana") == "ana: the override is removed\n"
        assert "(404)" in await running.says("override", "rm", "ana", code=1)
        assert "the target is empty" in await running.says("override", "rm", "", code=1)
        name = "ana\x1b[31m\n\u202eeve"
        said = await running.says("override", "set", name, "--block", "--for", "60s", "--reason", "a\tb")
        said += await running.says("override", "list") + await running.says("override", "rm", name)
        lines = said.splitlines()
        assert [line.partition("  ")[0].partition(":")[0] for line in lines] == [r"ana\x1b[31m\n\u202eeve"] * 3
        assert r"a\tb (by " in lines[1]


async def test_a_file_of_overrides_is_compared_applied_and_dumped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with operated(tmp_path) as running:
        plan = tmp_path / "plan.csv"
        plan.write_text("user,address,effect,reason,expires_at\nana,,blok,abuse,soon\n,,exempt,sale,soon\n")
        said = await running.says("overrides", "apply", "plan.csv", code=1)
        assert said.splitlines()[0] == "gateway: the file has 4 errors; nothing was changed"
        assert said.splitlines()[1] == "plan.csv:2:6: effect: must be one of quota, tier, exempt, block"
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        rows = [f"user{number},,exempt,sale,{soon}" for number in range(12)]
        plan.write_text("\n".join(["user,address,effect,reason,expires_at", f"ana,,block,abuse,{soon}", *rows]))
        first, shown, *_, more, how = (await running.says("overrides", "apply", "plan.csv", "--dry-run")).splitlines()
        assert first == "13 overrides would be in force: 13 added, 0 removed, 0 changed, 0 unchanged"
        assert shown.startswith("  + ana  block  until ")
        assert more == "  + and 3 more"
        assert await running.statuses("ana", 1) == [200]
        version = how.removeprefix("to apply this and nothing else: ").split()
        said = await running.says("overrides", "apply", "plan.csv", *version)
        assert said.startswith("13 overrides are in force: 13 added")
        assert await running.statuses("ana", 1) == [429]
        assert "make another dry run" in await running.says("overrides", "apply", "plan.csv", *version, code=1)
        dumped = await running.says("overrides", "dump")
        assert json.loads(await running.says("overrides", "dump", "--json")) == {"csv": dumped}
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(dumped.encode())))
        result = json.loads(await running.says("overrides", "apply", "-", "--json"))
        assert (result["unchanged"], result["added"]["count"]) == (13, 0)
        plan.write_text(dumped.replace("block,", "exempt,").replace(",sale", ",fair"))
        said = await running.says("overrides", "apply", "plan.csv")
        assert "0 added, 0 removed, 13 changed" in said
        assert "  ~ ana  exempt  until " in said
        assert "      before: ana  block  until " in said
        assert "nothing.csv cannot be read" in await running.says("overrides", "apply", "nothing.csv", code=1)


async def test_what_a_user_has_left_and_how_the_gateway_is(tmp_path: Path) -> None:
    async with operated(tmp_path) as running:
        assert await running.statuses("ana", 1) == [200]
        assert (await running.says("usage", "ana")).startswith("everyone  1 of 2 left  rate 2/day  full at ")
        usage = json.loads(await running.says("usage", "ana", "--json"))
        assert usage["buckets"][0]["remaining"] == 1
        assert usage["tier"] is None
        status = json.loads(await running.says("status", "--json"))
        assert (status["status"], status["limits"], len(status["workers"])) == ("ready", 1, 1)
        assert status["workers"][0]["up"] is True
        assert f"ready; rules {status['revision']} since " in await running.says("status")


async def test_why_a_user_is_refused_is_said_in_one_command(tmp_path: Path) -> None:
    async with operated(tmp_path) as running:
        question = ("explain", "GET /orders", "--user", "ana")
        assert (await running.says(*question)).endswith("\nIt would pass now.\n")
        assert await running.statuses("ana", 3) == [200, 200, 429]
        said = await running.says(*question)
        assert "everyone  user  2/day  2      1      0      from 20" in said
        assert "\nIt would be refused by everyone, until 20" in said
        by_header = ("explain", "GET /orders", "--header", "X-User-Id: ana", "--address", "127.0.0.1", "--json")
        document = json.loads(await running.says(*by_header))
        assert (document["allowed"], document["caller"]["source"]) == (False, "trusted_header")
        assert "--rules is for files" in await running.says(*question, "--rules", "rules.yaml", code=1)
        await running.says("override", "set", "ana", "--exempt", "--for", "1m", "--reason", "sale")
        said = await running.says(*question)
        assert "\noverride  exempt, until 20" in said
        assert "No limit counts this request: it passes." in said
        assert "CAN PAY" not in (await run(*cli(*question, "--config", "gateway.yaml"), cwd=tmp_path))[1]


async def test_a_reload_shows_what_changes_and_what_is_wrong_with_the_files(tmp_path: Path) -> None:
    (tmp_path / "rule_tests.yaml").write_text(TESTS)
    async with operated(tmp_path, more="rule_tests: rule_tests.yaml\n") as running:
        (tmp_path / "rules.yaml").write_text(RULES.replace("burst: 2", "burst: 3"))
        for dry_run, verb in ((["--dry-run"], "would be refused"), ([], "are refused")):
            said = await running.says("reload", *dry_run, code=1)
            assert verb in said
            assert "limits changed: everyone (burst 2 -> 3)\n  tests: 0 passed, 1 failed\n" in said
            assert "rule_tests.yaml:6:40: tests[0].steps[1].expect: expected refused, but the request was" in said
            assert ("analytics: analytics are off" in said) is bool(dry_run)
        document = await running.says("reload", "--dry-run", "--json", code=1)
        assert json.loads(document.splitlines()[0])["tests"]["failed"] == 1
        (tmp_path / "rule_tests.yaml").write_text(TESTS.replace("times: 2", "times: 3"))
        said = await running.says("reload", "--dry-run")
        assert "would be in force" in said
        assert "\n  tests: 1 passed\n  analytics: analytics are off" in said
        said = await running.says("reload")
        assert "limits changed: everyone (burst 2 -> 3)" in said
        assert await running.statuses("ana", 4) == [200, 200, 200, 429]
        (tmp_path / "rules.yaml").write_text("limits: 7\n")
        assert "rules.yaml:1:" in await running.says("reload", code=1)
        # Broken rules on disk keep nobody from blocking a user.
        await running.says("override", "set", "eve", "--block", "--for", "1m", "--reason", "abuse")


async def test_a_token_that_is_given_needs_no_settings_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with operated(tmp_path) as running:
        issue = ("token", "issue", "--config", "gateway.yaml", "--subject", "ana", "--scope", "limits:read")
        code, token = await run(*cli(*issue), cwd=tmp_path)
        assert code == 0, token
        (tmp_path / "token").write_text(token)
        (tmp_path / "gateway.yaml").unlink()
        assert "everyone" in await running.says("usage", "ana", "--token-file", "token")
        blocking = ("override", "set", "ana", "--block", "--for", "1m", "--reason", "abuse", "--token-file", "token")
        assert "(403)" in await running.says(*blocking, code=1)
        monkeypatch.setenv("GATEWAY_TOKEN", token.strip())
        assert "everyone" in await running.says("usage", "ana")


async def test_without_a_gateway_the_command_says_where_it_asked(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a.b.c")
    code, output = await run(
        *cli("status", "--url", "http://127.0.0.1:1", "--token-file", "token"), cwd=tmp_path
    )  # fmt: skip
    assert code == 1
    assert output.startswith("gateway: no response from the control listener at http://127.0.0.1:1: ")


async def test_rules_are_taken_back(tmp_path: Path) -> None:
    async with operated(tmp_path) as running:
        (tmp_path / "rules.yaml").write_text(RULES.replace("burst: 2", "burst: 3"))
        said = await running.says("reload", "--confirm-within", "1h")
        assert "; revision 2\n" in said
        assert "  to be confirmed by 20" in said
        assert "UNCONFIRMED: revision 1 is in force again after 20" in await running.says("status")
        assert "waits to be confirmed" in await running.says("reload", code=1)
        assert (await running.says("confirm")).startswith("revision 2, rules ")
        assert "nothing to confirm" in await running.says("confirm", code=1)
        assert "; revision 1\n" in await running.says("rollback", "1", "--reason", "too few")
        assert "PINNED to revision 1 since 20" in await running.says("status")
        second, first = (await running.says("revisions")).splitlines()
        assert (second.startswith("  2  20"), first.startswith("* 1  20")) == (True, True)
        assert second.endswith("  limits: 1 changed")
        assert "--- rules.yaml\n" + RULES in await running.says("revisions", "1")
        assert json.loads(await running.says("revisions", "--json"))["in_force"] == 1
        assert json.loads(await running.says("revisions", "2", "--json"))["number"] == 2
        assert "(404)" in await running.says("revisions", "9", code=1)
        assert "(409): rules " in await running.says("reload", code=1)
        assert json.loads(await running.says("reload", "--force", "--json"))["number"] == 3
