"""The command, as a newcomer and as an operator use it."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.process import ROOT, Process, cli, gateway, run
from tests.waiting import DEADLINE
from tests.wire import Client, Conversation, ask, get, upstream

RULES = """
endpoints:
  - name: once
    path: /once
limits:
  - name: once-each
    per: user
    endpoints: [once]
    rate: 1/day
    burst: 1
"""


async def test_without_a_file_a_flag_is_enough_and_it_says_that_nothing_is_limited() -> None:
    async with upstream() as up, gateway("--upstream", f"http://127.0.0.1:{up.port}") as (process, public, control):
        assert "NOTHING IS LIMITED" in process.output
        assert [(await ask(public, get())).status for _ in range(3)] == [200] * 3
        assert (await ask(control, get("/healthz"))).status == 200
        ready = await ask(control, get("/readyz"))
        assert (ready.status, ready.body) == (200, b'{"status": "ready"}')
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
        assert "Traceback" not in process.output


async def test_rules_without_limits_are_named_and_said_to_limit_nothing(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("endpoints: [{name: once, path: /once}]\n")
    async with gateway("--upstream", "http://127.0.0.1:9", "--rules", str(rules)) as (process, _, _):
        assert f"2 endpoints, 0 limits from {rules}, revision " in process.output
        assert ": NOTHING IS LIMITED. Write limits: into the rules\n" in process.output


async def test_ipv4_clients_behind_a_translator_have_buckets_of_their_own(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    settings = tmp_path / "gateway.yaml"
    settings.write_text("identity: {trusted_proxies: [127.0.0.1]}\n")
    sources = [
        "64:ff9b::192.0.2.1",
        "64:ff9b::192.0.2.2",
        "64:ff9b::c000:202",
        "192.0.2.1",
        "2001:db8::1",
        "2001:db8::2",
    ]
    async with (
        upstream() as up,
        gateway("--upstream", f"http://127.0.0.1:{up.port}", "--rules", rules, "--config", settings) as (_, public, _),
    ):
        asked = [await ask(public, get("/once", f"X-Forwarded-For: {source}")) for source in sources]
        assert [response.status for response in asked] == [200, 200, 429, 429, 200, 429]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_rules_from_a_file_are_enforced_and_a_signal_ends_it_cleanly(number: int, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    arguments = ("--upstream", "http://127.0.0.1:{}", "--rules", str(rules))
    async with upstream() as up, gateway(*[text.format(up.port) for text in arguments]) as (process, public, control):
        assert [(await ask(public, get("/once"))).status for _ in range(3)] == [200, 429, 429]
        assert (await ask(public, get("/other"))).status == 200
        metrics = (await ask(control, get("/metrics"))).body.decode()
        assert 'gateway_requests_total{endpoint="once",outcome="refused",status="4xx"} 2.0' in metrics
        process.signal(number)
        assert await process.ends() == 0
        assert "Traceback" not in process.output


async def test_bad_rules_are_all_told_with_their_places_and_nothing_is_started(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("limits:\n  - name: a\n    per: usr\n    rate: 5/fortnight\n    brust: 3\n")
    command = cli("serve", "--upstream", "http://127.0.0.1:9", "--rules", rules)
    code, output = await run(*command)
    assert code == 2
    for said in ("rules.yaml:3:10: limits[0].per", "rules.yaml:4:11: limits[0].rate", "did you mean 'burst'?"):
        assert said in output
    assert "nothing was done" in output
    assert (await run(*cli("check", "--upstream", "http://127.0.0.1:9", "--rules", rules)))[0] == 2


async def test_check_prints_what_would_be_in_force() -> None:
    code, output = await run(*cli("check", "--config", "config/gateway.yaml"))
    assert code == 0
    for word in ("ENDPOINT", "LIMIT", "read-order", "/v1/orders/{id}", "everyone", "600/minute"):
        assert word in output


async def test_a_port_that_is_taken_is_said_and_nothing_is_started() -> None:
    async with upstream() as up:
        address = f"127.0.0.1:{up.port}"
        code, output = await run(*cli("serve", "--upstream", "http://127.0.0.1:9", "--listen", address))
    assert code == 1
    assert f"cannot listen on {address}" in output
    assert "Traceback" not in output


async def test_help_says_how_to_begin() -> None:
    code, output = await run(*cli("--help"))
    assert code == 0
    assert "gateway serve --upstream http://127.0.0.1:9000" in output
    assert (await run(*cli("--version")))[0] == 0
    assert (await run(*cli()))[0] == 2


async def test_it_refuses_to_start_without_the_c_parser() -> None:
    async with Process.start(
        *cli("serve", "--upstream", "http://127.0.0.1:9"), env={"AIOHTTP_NO_EXTENSIONS": "1"}
    ) as process:
        assert await process.ends() == 1
        assert "AIOHTTP_NO_EXTENSIONS" in process.output
        assert "Traceback" not in process.output


async def test_the_demo_tells_what_to_try_and_it_is_true(tmp_path: Path, reserve: Callable[[], int]) -> None:
    """The shipped configuration, on ports that are free here."""
    config = tmp_path / "config"
    config.mkdir()
    text = (ROOT / "config/gateway.yaml").read_text()
    (config / "rules").symlink_to(ROOT / "config/rules")
    (config / "rule_tests").symlink_to(ROOT / "config/rule_tests")
    for port in ("8080", "8081", "9000"):
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{reserve()}")
    (config / "gateway.yaml").write_text(text)
    async with Process.start(*cli("demo", "--config", config / "gateway.yaml")) as process:
        await process.says("Ctrl-C stops the demo")
        found = await process.says(r"curl -i http://127\.0\.0\.1:(\d+)(/\S+)")
        public = int(found[1])
        assert (await ask(public, get(found[2]))).status == 200
        loop = await process.says(r"seq (\d+).*-X POST http://127\.0\.0\.1:\d+(/\S+);")
        async with Client.connect(public) as client:
            statuses = [(await client.ask(get(loop[2], method="POST"))).status for _ in range(int(loop[1]))]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        process.signal(signal.SIGINT)
        assert await process.ends() == 0
        assert "Traceback" not in process.output


async def test_the_demo_listens_where_it_is_told_and_says_so(tmp_path: Path, reserve: Callable[[], int]) -> None:
    path, flags = tmp_path / "demo.sock", ("--control", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{reserve()}")
    listen = ("--listen", "127.0.0.1:0", "--listen", f"unix:{path}")
    async with Process.start(*cli("demo", *listen, *flags)) as process:
        found = await process.says(r"curl -i http://127\.0\.0\.1:(\d+)(/\S+)")
        await process.says("worker_serving")
        assert (await ask(int(found[1]), get(found[2]))).status == 200
        assert (await ask(path, get(found[2]))).status == 200
    async with Process.start(*cli("demo", *listen[2:], *flags)) as process:
        await process.says(f"curl --unix-socket {path} -i http://localhost/v1/orders/7")


async def test_the_demo_says_which_address_is_in_use_and_what_to_do() -> None:
    async with upstream() as up:
        taken = f"http://127.0.0.1:{up.port}"
        code, output = await run(
            *cli("demo", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--upstream", taken)
        )
    assert code == 1
    assert f"the demo's upstream cannot listen on 127.0.0.1:{up.port}: " in output
    assert "--upstream" in output
    assert "Traceback" not in output


async def test_it_runs_with_its_standard_streams_closed(reserve: Callable[[], int]) -> None:
    """No socket of ours may land on descriptor 2, where libraries write."""
    port = reserve()
    serve = f"{sys.executable} -m gateway serve --upstream $0 --listen 127.0.0.1:{port} --control 127.0.0.1:0"
    command = f"exec {serve} <&- >&- 2>&-"
    async with upstream() as up, Process.start("sh", "-c", command, f"http://127.0.0.1:{up.port}") as process:
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    answer = await ask(port, get())
                    break
                except ConnectionRefusedError:  # each attempt is a question; there is no output to wait for
                    await asyncio.sleep(0.02)
        assert answer.status == 200
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0


async def test_a_second_signal_ends_it_at_once_though_a_request_is_in_flight() -> None:
    arrived = asyncio.Event()

    async def hang(talk: Conversation) -> None:
        await talk.request()
        arrived.set()
        await talk.reader.read()

    async with (
        upstream(hang) as up,
        gateway("--upstream", f"http://127.0.0.1:{up.port}") as (process, public, _),
        Client.connect(public) as client,
    ):
        await client.send(get())
        async with asyncio.timeout(DEADLINE):
            await arrived.wait()
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGINT)
        assert await process.ends(deadline=10.0) == 1  # drain_time is 30 s
        assert "was told to exit twice, killing it" in process.output
        assert await client.closed() == b""
