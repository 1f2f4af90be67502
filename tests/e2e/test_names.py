"""Upstreams given by name, behind a gateway as it is run: one that hangs in DNS is nobody else's trouble."""

import asyncio
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.kit.process import Process, gateway, ports
from tests.name_server import NameServer, name_server
from tests.redis_server import redis_server
from tests.waiting import at_most, eventually, until
from tests.wire import Upstream, ask, get, upstream

SOON = 1.0
ANY = "127.0.0.1:0"
HANGING = 8
"""Twice as many as libuv has threads."""

RULES = "endpoints:\n" + "".join(
    f"  - {{name: {name}, path: '/{name}', upstream: {name}}}\n"
    for name in ("moved", "local", "file", *(f"hanging-{number}" for number in range(HANGING)))
)


def in_hosts_file() -> str:
    """A name of this machine's own in /etc/hosts; localhost, which needs no file, where there is none."""
    text = re.sub("#.*", "", Path("/etc/hosts").read_text())
    return next(iter(re.findall(r"^127\.[0-9.]+\s+(?!localhost)(\S+)", text, re.MULTILINE)), "localhost")


async def test_names_that_hang_in_dns_keep_no_other_upstream_from_being_reached(tmp_path: Path) -> None:
    async with name_server() as names, upstream(host="0.0.0.0") as up:
        names.addresses["api.test"] = ["127.0.0.1"]
        names.hanging = {f"hanging-{number}.test" for number in range(HANGING)}
        hanging = "".join(
            f"  hanging-{number}: {{urls: ['http://hanging-{number}.test:{up.port}']}}\n" for number in range(HANGING)
        )
        (tmp_path / "rules.yaml").write_text(RULES)
        (tmp_path / "gateway.yaml").write_text(
            f"""
rules: rules.yaml
dns: {{servers: ['127.0.0.1:{names.port}']}}
upstreams:
  default: {{urls: ['http://127.0.0.1:{up.port}']}}
  moved: {{urls: ['http://api.test:{up.port}']}}
  local: {{urls: ['http://localhost:{up.port}']}}
  file: {{urls: ['http://{in_hosts_file()}:{up.port}']}}
{hanging}"""
        )
        async with gateway("--config", tmp_path / "gateway.yaml") as (process, public, _):
            waiting = [
                asyncio.create_task(ask(public, get(f"/hanging-{number}"))) for number in range(HANGING) for _ in "123"
            ]
            await until(lambda: all(names.asked(host) for host in names.hanging))
            async with at_most(SOON, *process.children):
                for path in ("/moved", "/local", "/file", "/"):
                    assert (await ask(public, get(path))).status == 200
            assert not any(task.done() for task in waiting), "those that hang still do"
            assert {(await task).status for task in waiting} == {504}
            await process.says(r"http://hanging-0\.test:\d+ was not looked up in time")


class Machine:
    """A machine with an /etc/hosts and an /etc/resolv.conf of its own, and the name server that the latter names.

    Attributes:
        names: That name server.
    """

    def __init__(self, folder: Path, names: NameServer) -> None:
        self._folder = folder
        self.names = names

    @asynccontextmanager
    async def gateway(self, settings: str) -> AsyncIterator[tuple[Process, int]]:
        """Run a gateway there."""
        (self._folder / "gateway.yaml").write_text(settings)
        settings_file = self._folder / "gateway.yaml"
        script = " && ".join(
            [
                f"mount --bind {self._folder}/hosts /etc/hosts",
                f"mount --bind {self._folder}/resolv.conf /etc/resolv.conf",
                f"exec {sys.executable} -m gateway serve --config {settings_file} --listen {ANY} --control {ANY}",
            ]
        )
        async with Process.start("unshare", "--mount", "sh", "-c", script) as process:
            public, _ = await ports(process)
            yield process, public


@asynccontextmanager
async def machine(folder: Path, *, hosts: str = "", resolv_conf: str = "") -> AsyncIterator[Machine]:
    address = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.53"  # port 53 is of this test alone there
    (folder / "hosts").write_text(hosts)
    (folder / "resolv.conf").write_text(f"nameserver {address}\n{resolv_conf}")
    probe = await asyncio.create_subprocess_exec(
        "unshare", "--mount", "mount", "--bind", folder / "hosts", "/etc/hosts", stderr=asyncio.subprocess.DEVNULL
    )
    if await probe.wait():
        pytest.skip("only root can have an /etc/hosts of its own")
    try:
        async with name_server(address, 53) as names:
            yield Machine(folder, names)
    except PermissionError:
        pytest.skip("only root can listen on port 53")


def origins(up: Upstream, **names: str) -> str:
    """Settings by which each path goes to the upstream under another name."""
    return "upstreams:\n" + "".join(f"  {key}: {{urls: ['http://{name}:{up.port}']}}\n" for key, name in names.items())


def rules(folder: Path, *paths: str) -> str:
    endpoints = [f"  - {{name: {path}, path: '/{path}', upstream: {path}}}\n" for path in paths]
    (folder / "rules.yaml").write_text("".join(["endpoints:\n", *endpoints]))
    return "rules: rules.yaml\n"


@pytest.mark.needs("unshare")
async def test_names_are_found_by_the_files_of_the_machine(tmp_path: Path) -> None:
    """/etc/hosts, and of /etc/resolv.conf the name server, the search domains and `ndots`: those of a pod here."""
    pod = "search shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    async with (
        upstream() as up,
        machine(tmp_path, hosts="127.0.0.1 files.internal\n", resolv_conf=pod) as here,
    ):
        here.names.addresses = {name: ["127.0.0.1"] for name in ("billing.shop.svc.cluster.local", "api.test")}
        here.names.hanging = {f"hanging.test{domain}" for domain in ("", ".shop.svc.cluster.local")}
        paths = ("file", "short", "long", "out", "hanging")
        settings = rules(tmp_path, *paths) + origins(
            up,
            default="127.0.0.1",
            file="files.internal",
            short="billing",
            long="billing.shop.svc",
            out="api.test",
            hanging="hanging.test",
        )
        async with here.gateway(settings) as (process, public):
            waiting = [asyncio.create_task(ask(public, get("/hanging"))) for _ in range(HANGING)]
            await until(lambda: here.names.questions)
            async with at_most(SOON, *process.children):
                for path in paths[:-1]:
                    assert (await ask(public, get(f"/{path}"))).status == 200
            assert {(await task).status for task in waiting} == {504}


@pytest.mark.needs("unshare")
async def test_a_database_whose_name_hangs_does_not_keep_redis_from_being_reached(tmp_path: Path) -> None:
    slow = "options timeout:30 attempts:1\n"
    async with upstream() as up, redis_server() as redis, machine(tmp_path, resolv_conf=slow) as here:
        here.names.addresses["redis.test"] = ["127.0.0.1"]
        here.names.hanging = {"database.test"}
        (tmp_path / "rules.yaml").write_text("limits: [{name: each, per: user, rate: 1000/s}]\n")
        settings = (
            f"rules: rules.yaml\n{origins(up, default='127.0.0.1')}"
            f"store: {{url: 'redis://redis.test:{redis.port}'}}\n"
            "analytics: {interval: 1s, postgres: {url: 'postgresql://gateway@database.test/gateway', tls: false}}\n"
        )
        async with here.gateway(settings + "workers: 1\n") as (process, public):
            await until(lambda: here.names.asked("redis.test"))

            async def hangs_three_times() -> bool:
                """More than libuv would have look up names at a time."""
                assert (await ask(public, get())).status == 200
                return here.names.asked("database.test") >= 3

            await eventually(hangs_three_times)
            redis.kill()
            await process.says("redis_unavailable")
            await redis.start()
            await process.says("redis_back")
