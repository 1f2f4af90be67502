"""The ACL rule in docs/operations.md suffices for everything that a gateway does with Redis."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.control.running import read, request
from tests.kit.process import ROOT, cli, gateway, run
from tests.redis_server import redis_server
from tests.waiting import eventually
from tests.wire import ask, get, upstream

pytestmark = pytest.mark.usefixtures("redis_and_valkey")

SETTINGS = """\
identity: {{sources: [trusted_header: {{header: X-User-Id}}], trusted_proxies: [127.0.0.0/8]}}
control:
  state: {name}
  admin:
    audience: rate-limiting-gateway
    issuer: operations
    keys: [{{kid: admin, algorithm: EdDSA, public_key_file: secrets/admin.pem}}]
store: {{url: "redis://gateway@127.0.0.1:{redis}/0", password_env: REDIS_PASSWORD, deadline: 5s}}
upstreams: {{default: {{urls: ["http://127.0.0.1:{upstream}"]}}}}
workers: 2
rules: rules.yaml
"""
SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
RULES = "limits: [{name: everyone, per: user, rate: 2/day, burst: 2}]\n"


def rule() -> list[str]:
    found: str
    (found,) = re.findall(r"^ACL SETUSER (gateway .*)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    return found.split()


async def is_refused(port: int) -> bool:
    return (await ask(port, get("/", "X-User-Id: bob"))).status == 429


async def test_two_gateways_do_all_they_do_as_a_user_with_that_rule(tmp_path: Path) -> None:
    """Decide, reload the fleet, override, reset, restore after data loss, and compare the audit log with its head."""
    (tmp_path / "rules.yaml").write_text(RULES)
    assert (await run(*cli("token", "keygen"), cwd=tmp_path))[0] == 0
    async with redis_server() as server, upstream() as up, Redis(port=server.port, protocol=2) as connected:
        admin: Any = connected
        await admin.execute_command("ACL", "SETUSER", *rule())
        files = [tmp_path / f"{name}.yaml" for name in "ab"]
        for file in files:
            file.write_text(SETTINGS.format(name=file.stem, redis=server.port, upstream=up.port))
        password = {"REDIS_PASSWORD": "a-long-password"}
        async with (
            gateway("--config", files[0], **password) as (first, public, control),
            gateway("--config", files[1], **password) as (second, other, _),
        ):
            for process in (first, second):
                await process.says(r"(?s)worker_serving.*worker_serving")
            told = get("/", "X-User-Id: ana")
            assert [(await ask(port, told)).status for port in (public, other, public)] == [200, 200, 429]

            async def says(*command: str, to: bool = True) -> str:
                more = ("--config", files[0], *(("--url", f"http://127.0.0.1:{control}") if to else ()))
                code, output = await run(*cli(*command, *more), cwd=tmp_path, env=password)
                assert code == 0, output
                return output

            await says("override", "set", "bob", "--block", "--for", "60s", "--reason", "abuse")
            await eventually(partial(is_refused, public))
            assert "bob" in await says("override", "list")
            assert "everyone" in await says("usage", "ana")
            assert f"gateway {gethostname()}/" in await says("reload", "--fleet")
            await says("override", "rm", "bob")
            (tmp_path / "plan.csv").write_text(f"user,effect,reason,expires_at\neve,block,abuse,{SOON}\n")
            assert "1 added, 0 removed, 0 changed" in await says("overrides", "apply", "plan.csv")
            assert "eve" in await says("overrides", "dump")
            token = (await says("token", "issue", "--subject", "s", "--scope", "check", to=False)).strip()
            asked = {"user_id": "mia", "endpoint": "default", "weight": 1, "reserve": True}
            reserved = read(await ask(control, request("POST", "/api/v1/check-limit", asked, token=token))).body
            settled = {"reservation": reserved["reservation"], "cost": 0}
            assert read(await ask(control, request("POST", "/api/v1/settle", settled, token=token))).status == 200
            assert "none is missing at the end" in await says(
                "audit", "verify", str(tmp_path / "a/audit.jsonl"), to=False
            )
            await asyncio.to_thread(server.kill)
            while "redis_unavailable" not in first.output:
                assert (await ask(public, get("/", "X-User-Id: eve"))).status in {200, 429}
            await server.start()
            await admin.execute_command("ACL", "SETUSER", *rule())
            await first.says("redis_back")
            for process in (first, second):
                assert "redis_misconfigured" in process.output, "it may read Redis' configuration"
            denied = await admin.execute_command("ACL", "LOG")
            assert not [entry for entry in denied if b"auth" not in entry]
