"""`gateway purge`, as an operator types it, on a real Redis."""

import asyncio
import io
import re
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.commands.cli import main
from tests.kit.process import cli, gateway, run
from tests.redis.clusters import redis_cluster
from tests.redis_server import redis_server
from tests.wire import ask, get, upstream

FOREIGN = ("gateway:eu:bucket:1", "gateway-2:bucket:1", "gateway:notes", "other")


def configure(folder: Path, store: str) -> Path:
    path = folder / "gateway.yaml"
    where = store if store.startswith("{") else f"{{url: '{store}'}}"
    path.write_text(
        "upstreams: {default: {urls: [http://127.0.0.1:9]}}\n"
        f"control: {{state: state}}\nstore: {where}\nrules: rules.yaml\n"
    )
    (folder / "rules.yaml").write_text("limits: [{name: everyone, per: user, rate: 10/day}]\n")
    return path


async def test_what_a_gateway_stored_is_removed_and_nothing_else(tmp_path: Path) -> None:
    async with redis_server() as redis, upstream() as up, Redis(port=redis.port, decode_responses=True) as client:
        config = configure(tmp_path, f"{{url: '{redis.url}', deadline: 5s}}")
        async with gateway("--config", config, "--upstream", f"http://127.0.0.1:{up.port}") as (_, public, _):
            assert (await ask(public, get())).status == 200
        for key in FOREIGN:
            await client.set(key, 1)
        assert len(await client.keys("gateway:bucket:*")) == 1
        before = set(await client.keys())

        code, said = await run(*cli("purge", "--config", config))
        assert (code, set(await client.keys())) == (1, before)
        assert "nothing was removed; answer y, or use --yes" in said
        code, said = await run(*cli("purge", "--config", config, "--yes"))
        assert code == 0, said
        assert re.search(r"removed from Redis .*: \d+ keys \(.*bucket 1.*\)", said)
        assert f"not removed: {tmp_path / 'state'} (state and audit log)" in said
        assert set(await client.keys()) == set(FOREIGN)
        code, said = await run(*cli("purge", "--config", config))
        assert (code, "0 keys" in said) == (0, True)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
async def test_it_asks(
    answer: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    async with redis_server() as redis, Redis(port=redis.port) as client:
        await client.set("gateway:bucket:x", 1)
        config = configure(tmp_path, redis.url)
        assert await asyncio.to_thread(main, ["purge", "--config", str(config)]) == code
        assert "prefix gateway: 1 key (bucket 1)? [y/N]" in capsys.readouterr().err
        assert await client.exists("gateway:bucket:x") == (code != 0)


async def test_each_server_of_a_cluster_is_searched(tmp_path: Path) -> None:
    async with redis_cluster() as nodes:
        clients = [Redis(port=node.port) for node in nodes]
        config = configure(tmp_path, f"{{url: '{nodes[0].url}', cluster: true}}")
        count = 0
        for number in range(30):
            for client in clients:
                try:
                    await client.set(f"gateway:bucket:{number}", 1)
                except ResponseError:  # another server has the slot
                    continue
                count += 1
        assert count == 30
        code, said = await run(*cli("purge", "--config", config, "--yes"))
        assert (code, "30 keys (bucket 30)" in said) == (0, True), said
        assert [await client.dbsize() for client in clients] == [0, 0, 0]
        for client in clients:
            await client.aclose()


async def test_redis_that_is_unavailable_or_memory_is_said(tmp_path: Path) -> None:
    code, said = await run(*cli("purge", "--yes", "--config", configure(tmp_path, "redis://127.0.0.1:1")))
    assert (code, "Traceback" in said) == (1, False)
    assert "gateway: Redis" in said
    code, said = await run(*cli("purge", "--yes", "--config", configure(tmp_path, "memory")))
    assert (code, "the store is memory, so nothing is in Redis" in said) == (1, True)
