"""A gateway that watches its files, which are mounted as Kubernetes mounts a ConfigMap."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.kit.process import Process, cli, ports
from tests.redis_server import redis_server
from tests.waiting import eventually, until
from tests.wire import Client, ask, get, upstream

SWAPS = 50
CLIENTS = 4


def rules(burst: int) -> str:
    return f"limits: [{{name: each, per: user, rate: 1000/s, burst: {1_000_000 + burst}}}]\n"


def swap(folder: Path, number: int, text: str) -> None:
    """Replace all files at once: they are links to ..data/NAME, and ..data is a link to a folder."""
    (folder / f"..{number}").mkdir()
    (folder / f"..{number}" / "rules.yaml").write_text(text)
    new = folder / "..data_tmp"
    new.symlink_to(f"..{number}")
    new.replace(folder / "..data")
    if not (folder / "rules.yaml").is_symlink():
        (folder / "rules.yaml").symlink_to("..data/rules.yaml")


def reloads(process: Process) -> int:
    return process.output.count("rules_reloaded")


@pytest.mark.untraced
async def test_fifty_swaps_under_load_lose_no_request_and_the_last_is_in_force(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    swap(mounted, 0, rules(0))
    async with redis_server() as redis, upstream() as up:
        file = tmp_path / "gateway.yaml"
        file.write_text(
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\nrules: mounted\nworkers: 2\n"
            f"store: {{url: '{redis.url}', deadline: 5s}}\nwatch: 100ms\n"
            "listen: 127.0.0.1:0\ncontrol: {listen: 127.0.0.1:0, state: state}\n"
        )
        async with Process.start(*cli("serve", "--config", file)) as process:
            public, control = await ports(process)
            await process.says(r"(?s)(worker_serving.*){2}")
            statuses: Counter[int] = Counter()
            done = asyncio.Event()

            async def load() -> None:
                async with Client.connect(public) as client:
                    while not done.is_set():
                        statuses[(await client.ask(get())).status] += 1

            async def in_force(number: int) -> bool:
                text = (await ask(control, get("/metrics"))).body.decode()
                lines = [line for line in text.splitlines() if line.startswith("gateway_limit_burst_tokens{")]
                return {float(line.split()[1]) for line in lines} == {1_000_000 + number}

            loads = [asyncio.create_task(load()) for _ in range(CLIENTS)]
            for number in range(1, SWAPS + 1):
                already = reloads(process)
                swap(mounted, number, rules(number))
                if number % 10 == 0:
                    await until(lambda: reloads(process) > already)  # noqa: B023 - it is awaited here
                else:
                    await asyncio.sleep(0.05)  # faster than it looks: some are never seen
            swap(mounted, SWAPS + 1, "limits: [{nme: broken}]\n")
            await process.says("reload_rejected")
            swap(mounted, SWAPS + 2, rules(SWAPS + 2))
            await eventually(lambda: in_force(SWAPS + 2))
            done.set()
            await asyncio.gather(*loads)
            assert statuses.keys() == {200}
            assert sum(statuses.values()) > SWAPS
            assert process.output.count("reload_rejected") == 1
