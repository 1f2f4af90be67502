"""Upstreams given by name: where connections go, and what a client is told when they go nowhere."""

import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import trustme

from gateway.settings.url import Origin
from tests.name_server import SERVER_FAILURE, asking, name_server
from tests.proxy.running import proxy
from tests.proxy.test_failover import black_hole, reset
from tests.reserved_port import ReservedPort
from tests.waiting import DEADLINE, eventually, until
from tests.wire import OK, Conversation, Script, Upstream, ask, get, upstream

CLOSING = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


async def once(talk: Conversation) -> None:
    """Keeps no connection, so that each request takes another one."""
    await talk.request()
    await talk.send(CLOSING)


@asynccontextmanager
async def both(script: Script) -> AsyncIterator[tuple[Upstream, Upstream]]:
    """Upstreams on the same port of two addresses."""
    with ReservedPort() as port:
        async with (
            upstream(script, port=port.number) as one,
            upstream(script, host="127.0.0.2", port=port.number) as other,
        ):
            yield one, other


def at(port: int, name: str = "api.test", scheme: Literal["http", "https"] = "http") -> tuple[Origin, ...]:
    return (Origin(scheme, name, port),)


async def test_a_new_connection_goes_where_the_name_leads_by_now() -> None:
    async with (
        name_server() as names,
        both(once) as (old, new),
        proxy(urls=at(old.port), dns=asking(names, max_ttl=0.05)) as running,
    ):
        names.addresses["api.test"] = ["127.0.0.1"]
        assert (await ask(running.port, get())).status == 200
        assert (old.connections, new.connections) == (1, 0)
        names.addresses["api.test"] = ["127.0.0.2"]

        async def has_moved() -> bool:
            assert (await ask(running.port, get())).status == 200
            return new.connections > 0

        await eventually(has_moved)
        before = old.connections
        for _ in range(10):
            assert (await ask(running.port, get())).status == 200
        assert old.connections == before


async def test_requests_go_on_while_the_name_server_fails() -> None:
    async with (
        name_server() as names,
        upstream(once) as up,
        proxy(urls=at(up.port), dns=asking(names, max_ttl=0.05)) as running,
    ):
        names.addresses["api.test"] = ["127.0.0.1"]
        assert (await ask(running.port, get())).status == 200
        names.failing["api.test"] = SERVER_FAILURE

        async def is_noticed() -> bool:
            assert (await ask(running.port, get())).status == 200
            return bool(running.seen.unresolved)

        await eventually(is_noticed)
        assert running.seen.unreachable == []


@pytest.mark.parametrize("how", ["closed", "reset", "head_timeout", "malformed"])
async def test_an_address_that_fails_after_connecting_is_left_out_until_a_probe_succeeds(how: str) -> None:
    """One GET is late or none; a POST may fail once, and is not sent again. Then nobody notices."""
    is_bad = True

    async def script(talk: Conversation) -> None:
        while True:
            await talk.request()
            if not is_bad:
                await talk.send(CLOSING)
            elif how == "malformed":
                await talk.send(b"what?\r\n\r\n")
            elif how == "head_timeout":
                await talk.reader.read()
            elif how == "reset":
                reset(talk)
            return

    with ReservedPort() as port:
        async with (
            name_server() as names,
            upstream(script, port=port.number) as bad,
            upstream(once, host="127.0.0.2", port=port.number) as good,
            proxy(
                urls=at(port.number), dns=asking(names), head_timeout=0.3, eject_time=0.2, connect_timeout=DEADLINE
            ) as running,
        ):
            names.addresses["api.test"] = ["127.0.0.1", "127.0.0.2"]
            for _ in range(6):
                assert (await ask(running.port, get())).status == 200
            assert running.seen.left_out == [(f"http://api.test:{port.number} at 127.0.0.1", how)]
            seen = len(good.requests)
            for _ in range(4):
                assert (await ask(running.port, get(method="POST"))).status == 200
            assert len(good.requests) == seen + 4
            is_bad = False
            await until(lambda: running.seen.back)
            assert running.seen.back == [f"http://api.test:{port.number} at 127.0.0.1"]
            before = len(bad.requests)
            for _ in range(4):
                assert (await ask(running.port, get())).status == 200
            assert len(bad.requests) == before + 2


async def test_an_address_that_refuses_is_followed_by_the_next_of_the_name(reserve: Callable[[], int]) -> None:
    port = reserve()
    async with (
        name_server() as names,
        upstream(once, host="127.0.0.2", port=port),
        proxy(urls=at(port), dns=asking(names)) as running,
    ):
        names.addresses["api.test"] = ["127.0.0.1", "127.0.0.2"]
        for _ in range(4):
            assert (await ask(running.port, get())).status == 200
    assert running.seen.left_out == [(f"http://api.test:{port} at 127.0.0.1", "refused")]


async def test_an_address_that_is_a_black_hole_delays_a_connection_by_a_moment() -> None:
    async with (
        black_hole() as port,
        name_server() as names,
        upstream(once, host="127.0.0.2", port=port),
        proxy(urls=at(port), dns=asking(names), connect_timeout=DEADLINE) as running,
    ):
        names.addresses["api.test"] = ["127.0.0.1", "127.0.0.2"]
        began = time.monotonic()
        for _ in range(4):
            assert (await ask(running.port, get())).status == 200
        assert time.monotonic() - began < DEADLINE / 2
        assert running.seen.left_out == [(f"http://api.test:{port} at 127.0.0.1", "connect_timeout")]


async def test_connections_are_spread_over_the_addresses_of_a_name() -> None:
    async with (
        name_server() as names,
        both(once) as (one, other),
        proxy(urls=at(one.port), dns=asking(names)) as running,
    ):
        names.addresses["api.test"] = ["127.0.0.1", "127.0.0.2"]
        for _ in range(10):
            assert (await ask(running.port, get())).status == 200
        assert (one.connections, other.connections) == (5, 5)


async def test_a_name_that_does_not_exist_is_a_502_and_why_is_said() -> None:
    async with name_server() as names, proxy(urls=at(9), dns=asking(names)) as running:
        assert (await ask(running.port, get())).status == 502
        (why,) = running.seen.unreachable
        assert why == "http://api.test:9 cannot be reached: there is no address under the name api.test"


async def test_a_name_that_hangs_is_a_504_and_why_is_said() -> None:
    async with (
        name_server() as names,
        proxy(urls=at(9), dns=asking(names, timeout=5.0), connect_timeout=0.2) as running,
    ):
        names.hanging = {"api.test"}
        assert (await ask(running.port, get())).status == 504
        (why,) = running.seen.unreachable
        assert why == "http://api.test:9 was not looked up in time"


async def test_a_name_found_after_a_client_has_given_up_serves_the_next() -> None:
    async with (
        name_server() as names,
        upstream() as up,
        proxy(urls=at(up.port), dns=asking(names, timeout=0.5), connect_timeout=0.2) as running,
    ):
        names.addresses["api.test"] = ["127.0.0.1"]
        names.lose = 3
        assert (await ask(running.port, get())).status == 504
        await until(lambda: names.asked("api.test") > 2)

        async def is_served() -> bool:
            return (await ask(running.port, get())).status == 200

        await eventually(is_served)


async def test_an_https_upstream_proves_itself_by_its_name_not_by_its_address(tmp_path: Path) -> None:
    authority, ca = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    told: list[str] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.test").configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: told.append(name)
    async with name_server() as names, upstream(ssl=context) as up:
        names.addresses |= {"api.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
        async with proxy(urls=at(up.port, scheme="https"), ca=ca, dns=asking(names)) as running:
            assert (await ask(running.port, get())).status == 200
        async with proxy(urls=at(up.port, "api.test.", "https"), ca=ca, dns=asking(names)) as running:
            assert (await ask(running.port, get())).status == 200
        assert told == ["api.test"] * 2
        async with proxy(urls=at(up.port, "other.test", "https"), ca=ca, dns=asking(names)) as running:
            assert (await ask(running.port, get())).status == 502
            assert "certificate verify failed" in running.seen.unreachable[0]
