"""`gateway check --online` connects to everything remote, and says what is wrong and what to do."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.asyncio import Redis

from tests.auth.keys import pair
from tests.collector import collector
from tests.control.key_sets.issuer import answers, issuing, jwk
from tests.kit.process import cli, run
from tests.postgres_server import PASSWORD, PostgresServer, postgres_server
from tests.redis_server import redis_server
from tests.wire import Conversation, says, upstream

ENV = {"HASH_KEY": "0123456789abcdef", "DATABASE": PASSWORD, "REDIS": "a-long-password"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


async def check(folder: Path, *settings: str, code: int) -> list[dict[str, Any]]:
    """What `gateway check --online` says of each service."""
    file = folder / "gateway.yaml"
    file.write_text("\n".join(["identity: {hash_key_env: HASH_KEY}", *settings]) + "\n")
    ended, output = await run(*cli("check", "--online", "--json", "--config", file), env=ENV)
    assert ended == code, output
    (document,) = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    online: list[dict[str, Any]] = document["online"]
    assert [each["ok"] for each in online] == [not each["error"] for each in online]
    return online


def upstreams(*urls: str, more: str = "") -> str:
    return f"upstreams: {{default: {{urls: [{', '.join(map(repr, urls))}]{more}}}}}"


async def test_all_that_can_be_used_is_ok_and_nothing_is_left_behind(tmp_path: Path, postgres: PostgresServer) -> None:
    database = await postgres.database("online")
    async with (
        redis_server() as redis,
        upstream() as up,
        collector() as traces,
        Redis(port=redis.port, protocol=2) as connected,
    ):
        await connected.config_set("maxmemory-policy", "noeviction")
        settings = (
            upstreams(f"http://127.0.0.1:{up.port}", more=", health: {path: /up}"),
            f"store: {{url: '{redis.url}'}}",
            f"analytics: {{postgres: {{url: '{postgres.url(database)}', password_env: DATABASE, tls: false}}}}",
            f"tracing: {{endpoint: '{traces.url}'}}",
        )
        online = await check(tmp_path, *settings, code=0)
        assert [each["name"] for each in online] == ["redis", "postgresql", "upstream default", "traces"]
        assert "volatile-lru" in online[0]["advice"]
        assert [message.start for message in up.requests] == [b"GET /up HTTP/1.1"]
        assert traces.spans == []
        async with postgres.session(database) as session:
            assert await session.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
        ended, output = await run(*cli("check", "--online", "--config", tmp_path / "gateway.yaml"), env=ENV)
        assert (ended, output.count("OK")) == (0, 4), output
        assert PASSWORD not in output


async def test_a_redis_that_may_lose_a_calendar_quota_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("limits: [{name: monthly, per: user, quota: 1000/month}]\n")
    async with redis_server("--maxmemory-policy", "volatile-lru") as redis, upstream() as up:
        settings = (upstreams(f"http://127.0.0.1:{up.port}"), f"store: {{url: '{redis.url}'}}", "rules: rules.yaml")
        online = await check(tmp_path, *settings, code=0)
    assert "it may evict calendar quotas in use" in online[0]["advice"]
    assert "every calendar quota can be used once more before its period ends" in online[0]["advice"]


async def test_what_cannot_be_reached_is_named_with_the_reason_and_what_to_do(tmp_path: Path) -> None:
    async def silent(talk: Conversation) -> None:
        await talk.reader.read()

    async with upstream(silent) as hangs, upstream(says(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")) as ill:
        online = await check(
            tmp_path,
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:1', 'http://nowhere.invalid']}}, "
            f"hangs: {{urls: ['http://127.0.0.1:{hangs.port}']}}, "
            f"ill: {{urls: ['http://127.0.0.1:{ill.port}'], health: {{path: /up}}}}}}",
            "store: {url: 'redis://127.0.0.1:1'}",
            "analytics: {postgres: {url: 'postgresql://gateway@127.0.0.1:1/g', password_env: DATABASE, tls: false}}",
            f"tracing: {{endpoint: 'http://127.0.0.1:{ill.port}/v1/traces'}}",
            code=1,
        )
    wrong = [(each["name"], each["error"], each["advice"]) for each in online]
    expected = [
        ("redis", "refused", "check that it runs"),
        ("postgresql", "127.0.0.1", "check that it runs"),
        ("upstream default", "refused", "check that it runs"),
        ("upstream default", "no address", "check the host's name"),
        ("upstream hangs", "no response within 5 seconds", "check that it runs"),
        ("upstream ill", "503", "health.path"),
        ("traces", "503", "tracing.endpoint"),
    ]
    for (name, error, advice), (expected_name, why, what_to_do) in zip(wrong, expected, strict=True):
        assert (name, why in error, what_to_do in advice) == (expected_name, True, True), (name, error, advice)


async def test_what_trickles_in_is_waited_for_no_longer_than_five_seconds(tmp_path: Path) -> None:
    """A byte a second, from what could be a server of any kind."""

    async def trickle(talk: Conversation) -> None:
        while True:
            await talk.send(b"H")
            await asyncio.sleep(1)

    async with upstream(trickle) as slow:
        online = await check(
            tmp_path,
            upstreams(f"http://127.0.0.1:{slow.port}"),
            f"store: {{url: 'redis://127.0.0.1:{slow.port}'}}",
            f"analytics: {{postgres: {{url: 'postgresql://gateway@127.0.0.1:{slow.port}/g', "
            "password_env: DATABASE, tls: false}}",
            f"tracing: {{endpoint: 'http://127.0.0.1:{slow.port}/v1/traces'}}",
            code=1,
        )
    assert [each["ok"] for each in online] == [False] * 4
    assert online[-1]["error"] == "no response within 5 seconds"


async def test_a_collector_says_what_is_wrong_with_the_credential_and_the_protocol(tmp_path: Path) -> None:
    async with upstream() as up, upstream(says(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")) as locked:
        there = upstreams(f"http://127.0.0.1:{up.port}")
        endpoint = f"http://127.0.0.1:{locked.port}/v1/traces"
        _, traces = await check(tmp_path, there, f"tracing: {{endpoint: '{endpoint}', credential_env: REDIS}}", code=1)
        assert "tracing.credential_file" in traces["advice"]
        (asked,) = locked.requests
        assert asked.one(b"authorization") == ENV["REDIS"].encode()
    async with upstream() as up, redis_server() as redis:
        there = upstreams(f"http://127.0.0.1:{up.port}")
        _, traces = await check(
            tmp_path, there, f"tracing: {{endpoint: 'http://127.0.0.1:{redis.port}/v1/traces'}}", code=1
        )
        assert traces["advice"], traces


async def test_a_redis_that_is_there_and_cannot_be_used_is_no_redis(tmp_path: Path) -> None:
    """A wrong password, a user who may not run scripts, and a replica."""
    async with redis_server() as server, upstream() as up, Redis(port=server.port, protocol=2) as connected:
        admin: Any = connected
        there = upstreams(f"http://127.0.0.1:{up.port}")
        store = f"store: {{url: 'redis://gateway@127.0.0.1:{server.port}', password_env: REDIS}}"

        async def redis_fails() -> tuple[str, str]:
            redis, _ = await check(tmp_path, there, store, code=1)
            return redis["error"], redis["advice"]

        error, advice = await redis_fails()
        assert "store.password_file" in advice, error
        await admin.execute_command("ACL", "SETUSER", "gateway", "on", ">a-long-password", "~*", "+ping")
        error, advice = await redis_fails()
        assert "ACL rule" in advice, error
        await admin.execute_command("ACL", "SETUSER", "gateway", "+@all")
        assert [each["ok"] for each in await check(tmp_path, there, store, code=0)] == [True, True]
        await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        error, advice = await redis_fails()
        assert "primary" in advice, error


async def test_a_certificate_that_is_not_trusted_is_said_to_be_the_reason(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with upstream(ssl=context) as up:
        url = f"https://localhost:{up.port}"
        (untrusted,) = await check(tmp_path, upstreams(url), code=1)
        assert "tls.server_name" in untrusted["advice"], untrusted
        (trusted,) = await check(tmp_path, upstreams(url, more=f", ca: '{tmp_path / 'ca.pem'}'"), code=0)
        assert trusted["ok"]
        (no_tls,) = await check(tmp_path, upstreams(f"http://localhost:{up.port}"), code=1)
        assert no_tls["advice"], no_tls


async def test_without_online_nothing_is_connected_to_and_json_has_all_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("limits: [{name: a, per: user, rate: 60/60s}]\n")
    flags = ("--upstream", "http://127.0.0.1:1", "--store", "redis://127.0.0.1:1", "--rules", tmp_path / "rules.yaml")
    code, output = await run(*cli("check", "--json", *flags), env=ENV)
    assert code == 0, output
    (document,) = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert (document["online"], document["limits"][0]["rate"]) == ([], "60/60s")


async def test_an_issuer_is_asked_for_its_keys(tmp_path: Path) -> None:
    async with issuing(tmp_path) as issuer, upstream() as up:
        settings = (
            upstreams(f"http://127.0.0.1:{up.port}"),
            f"control: {{admin: {{audience: a, issuer: b, jwks: {{url: '{issuer.url}', ca: {issuer.ca}}}}}}}",
        )
        issuer.publish(jwk(pair("EdDSA"), "a"), jwk(pair("EdDSA"), "b", kty="oct"))
        *_, found = await check(tmp_path, *settings, code=0)
        assert (found["name"], found["address"], found["ok"]) == ("issuer", issuer.url, True)
        assert "key 2 (b) is a shared secret" in found["advice"]
        issuer.publish()
        *_, found = await check(tmp_path, *settings, code=1)
        assert "the key set cannot be used: there is no key that verifies signatures" in found["error"]
        issuer.respond = answers(b"", "404 Not Found")
        *_, found = await check(tmp_path, *settings, code=1)
        assert found["error"] == "the response has the status 404"
