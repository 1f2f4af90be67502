"""Real clients that keep their connections, in front of real servers: behind an early answer no request is lost.

The answer comes before the body has been read: our own 429, or an upstream's 401.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import requests

from tests.kit.process import Process, gateway, run
from tests.untraced import untraced

HERE = Path(__file__).parent
ROUNDS = 8
SIZES = [1_000, 200_000, 1_000_000, 5_000_000]

RULES = """
endpoints:
  - name: early
    path: /early
limits:
  - name: early
    per: [user, endpoint]
    endpoints: [early]
    rate: 1/day
    burst: 1
"""


@asynccontextmanager
async def behind_gunicorn() -> AsyncIterator[int]:
    command = (sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "4", "-b", "127.0.0.1:0")
    async with Process.start(*command, "tests.e2e.early_app:app", env=untraced()) as process:
        yield int((await process.says(r"Listening at: http://127\.0\.0\.1:(\d+)"))[1])


@asynccontextmanager
async def behind_go() -> AsyncIterator[int]:
    async with Process.start("go", "run", HERE / "early.go") as process:
        yield int((await process.says(r"listening on (\d+)"))[1])


@asynccontextmanager
async def behind_node() -> AsyncIterator[int]:
    async with Process.start("node", HERE / "early_server.js") as process:
        yield int((await process.says(r"listening on (\d+)"))[1])


async def agent(port: int, size: int, framing: str, pieces: int) -> Counter[int]:
    """Node's keep-alive agent."""
    command = ("node", HERE / "keepalive_agent.js", str(port), str(ROUNDS), str(size), framing, str(pieces))
    code, output = await run(*command)
    assert code == 0, output
    found = json.loads(output)
    assert found["errors"] == {}
    return Counter({int(status): number for status, number in found["statuses"].items()})


async def session(port: int, size: int, framing: str, pieces: int) -> Counter[int]:
    """A `requests.Session`, which sends a whole body before it reads."""
    url, found = f"http://127.0.0.1:{port}", Counter[int]()
    step = -(-size // pieces)

    def ask() -> None:
        with requests.Session() as kept:
            for _ in range(ROUNDS):
                body = b"x" * size if framing == "length" else (b"x" * step for _ in range(pieces))
                found[kept.post(f"{url}/early", data=body, timeout=30).status_code] += 1
                found[kept.get(url, timeout=30).status_code] += 1

    await asyncio.to_thread(ask)
    return found


Asking = Callable[[int, int, str, int], "asyncio.Future[Counter[int]]"]
CLIENTS = [pytest.param(agent, marks=pytest.mark.needs("node"), id="node"), pytest.param(session, id="requests")]
SERVERS = [
    pytest.param(behind_gunicorn, id="gunicorn"),
    pytest.param(behind_go, marks=pytest.mark.needs("go"), id="go"),
    pytest.param(behind_node, marks=pytest.mark.needs("node"), id="node"),
]


@pytest.mark.parametrize("ask", CLIENTS)
async def test_behind_our_own_429_no_request_is_lost(ask: Asking, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    async with (
        behind_gunicorn() as port,
        gateway("--upstream", f"http://127.0.0.1:{port}", "--rules", rules) as (_, public, _),
    ):
        for size in SIZES:
            for framing, pieces in (("length", 1), ("length", 20), ("chunked", 20)):
                found = await ask(public, size, framing, pieces)
                assert found[429] + found[401] == ROUNDS, (size, framing, found)
                assert found[200] == ROUNDS, (size, framing, found)


@pytest.mark.parametrize("ask", CLIENTS)
@pytest.mark.parametrize("server", SERVERS)
async def test_behind_an_upstreams_early_401_no_request_is_lost(
    ask: Asking, server: Callable[[], AbstractAsyncContextManager[int]]
) -> None:
    async with server() as port, gateway("--upstream", f"http://127.0.0.1:{port}") as (_, public, _):
        for size in SIZES:
            for framing, pieces in (("length", 1), ("length", 20), ("chunked", 20)):
                found = await ask(public, size, framing, pieces)
                assert found == {401: ROUNDS, 200: ROUNDS}, (size, framing, found)
