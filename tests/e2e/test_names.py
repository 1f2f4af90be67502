"""Upstreams given by name, behind a gateway as it is run: one that hangs in DNS is nobody else's trouble."""

import asyncio
import re
from pathlib import Path

from tests.e2e.process import gateway
from tests.name_server import name_server
from tests.waiting import at_most, until
from tests.wire import ask, get, upstream

SOON = 1.0
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
