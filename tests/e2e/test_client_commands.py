"""The commands for a running gateway: over TLS, and `status` while Redis answers, and while it does not."""

import json
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any

import trustme

from tests.e2e.test_operating import Operated, operated
from tests.redis_server import redis_server
from tests.waiting import eventually

BLOCK = ("override", "set", "ana", "--block", "--for", "60s", "--reason", "abuse")
COMMANDS = [
    BLOCK,
    ("override", "list"),
    ("usage", "ana"),
    ("override", "rm", "ana"),
    ("reload", "--dry-run"),
    ("reload",),
    ("status",),
]
TLS = "  listen: {host: 127.0.0.1, port: 0, tls: {certificate: cert.pem, key: key.pem}}\n"
REDIS = "store: {{url: '{url}', deadline: 5s}}\nworkers: 2\n"


def certify(folder: Path, authority: trustme.CA) -> None:
    served = authority.issue_cert("127.0.0.1")
    served.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(each.bytes() for each in served.cert_chain_pems))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))


async def test_each_command_asks_over_tls_whom_it_is_told_to_trust_and_prints_json(tmp_path: Path) -> None:
    certify(tmp_path, trustme.CA())
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    async with operated(tmp_path, control=TLS) as running:
        for command in COMMANDS:
            refused = await running.says(*command, "--ca", "other.pem", code=1)
            assert "certificate verify failed" in refused, command
            document = json.loads(await running.says(*command, "--ca", "ca.pem", "--json"))
            assert isinstance(document, dict), command
        # Without --ca, the certificate that the settings name is the only one that is trusted.
        assert await running.says(*BLOCK)
        certify(tmp_path, trustme.CA())
        assert "certificate verify failed" in await running.says("status", code=1)


async def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    certify(tmp_path, trustme.CA())
    async with operated(tmp_path, control=TLS) as running:
        assert "nothing.pem cannot be used" in await running.says("status", "--ca", "nothing.pem", code=1)
        assert "rules.yaml cannot be used" in await running.says("status", "--ca", "rules.yaml", code=1)


async def status(running: Operated) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(await running.says("status", "--json"))
    return document


async def decides_with_redis(running: Operated, *, expected: bool) -> bool:
    now = await status(running)
    settled: bool = now["status"] == ("ready" if expected else "degraded")
    return settled and [worker.get("redis") for worker in now["workers"]] == [expected] * 2


async def names(running: Operated, count: int) -> bool:
    return len((await status(running))["gateways"]) == count


async def test_status_names_the_gateways_on_one_redis_and_says_when_redis_is_down_and_back(tmp_path: Path) -> None:
    async with redis_server() as redis:
        more = REDIS.format(url=redis.url)
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir()
        async with operated(tmp_path / "one", more=more) as running:
            await eventually(partial(decides_with_redis, running, expected=True))
            async with operated(tmp_path / "two", more=more) as other:
                await eventually(partial(names, running, 2))
                await eventually(partial(names, other, 2))
                first, second = await status(running), await status(other)
                assert first["gateways"] == second["gateways"] == sorted([first["gateway"], second["gateway"]])
                assert {each.split("/")[0] for each in first["gateways"]} == {gethostname()}
                text = await running.says("status")
                assert f"\n  gateway {first['gateway']}\n" in text
                assert f"\n  other gateway {second['gateway']}\n" in text
            await eventually(partial(names, running, 1))
            redis.kill()
            await eventually(partial(decides_with_redis, running, expected=False))
            text = await running.says("status")
            assert text.startswith("degraded; rules ")
            assert text.count("  up  decides from memory, because Redis is unavailable") == 2
            await redis.start()
            await eventually(partial(decides_with_redis, running, expected=True))
            assert (await running.says("status")).count("decides with Redis") == 2
