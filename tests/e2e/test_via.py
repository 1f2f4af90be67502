"""A gateway whose upstream leads back to it, and one in front of another."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.kit.process import gateway
from tests.wire import Client, ask, get, serving, upstream


class Relay:
    """A TCP proxy whose other end is set after it has started.

    Attributes:
        port: Where it listens.
        target: The port that it leads to.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target = 0

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(self._copy(reader, to_writer), self._copy(to_reader, writer))

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    found = Relay()
    async with serving(found.pass_on) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


def settings(folder: Path, port: int, via: str = "") -> Path:
    config = folder / f"gateway-{port}.yaml"
    config.write_text(f"upstreams: {{default: {{urls: [http://127.0.0.1:{port}]}}}}\n{via}\n")
    return config


async def test_a_gateway_that_is_its_own_upstream_answers_508_and_says_why(tmp_path: Path) -> None:
    async with relay() as back, gateway("--config", settings(tmp_path, back.port)) as (process, public, _):
        back.target = public
        async with Client.connect(public) as client:
            for _ in range(3):
                assert (await client.ask(get())).status == 508
        found = await process.says(r'"event": "loop_detected".*')
        assert re.search(r'"via": "1\.1 gateway-[0-9a-f]{12}"', found[0])
        assert process.output.count('"event": "loop_detected"') == 1


async def test_gateways_in_a_row_on_one_host_are_no_loop(tmp_path: Path) -> None:
    async with upstream() as up, gateway("--config", settings(tmp_path, up.port)) as (_, inner, _):
        async with gateway("--config", settings(tmp_path, inner)) as (_, outer, _):
            assert (await ask(outer, get())).status == 200
        first, second = up.requests[0].one(b"via").split(b", ")
        assert first != second


async def test_via_can_be_named_and_turned_off(tmp_path: Path) -> None:
    for setting, seen in (("via: edge-1", [b"1.1 edge-1"]), ("via: off", []), ("via: false", [])):
        async with upstream() as up, gateway("--config", settings(tmp_path, up.port, setting)) as (_, public, _):
            assert (await ask(public, get())).status == 200
            assert up.requests[0].all(b"via") == seen


async def test_a_header_that_is_dropped_for_its_underscore_is_said_once_with_what_to_do(tmp_path: Path) -> None:
    async with upstream() as up, gateway("--config", settings(tmp_path, up.port)) as (process, public, _):
        for _ in range(3):
            assert (await ask(public, get("/", "X_Api_Version: 2"))).status == 200
        found = await process.says(r'"event": "header_dropped".*')
        assert '"name": "X_Api_Version"' in found[0]
        assert "hyphens" in found[0]
        assert process.output.count("header_dropped") == 1
