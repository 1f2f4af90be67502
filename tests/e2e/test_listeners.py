"""Where a gateway listens: several addresses, IPv6 with and without IPv4, and Unix sockets, with real clients."""

import io
import os
import re
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.test_restart import RULES, crowd, restart
from tests.kit.process import Process, cli, run
from tests.proxy.keys import make_keys
from tests.redis_server import redis_server
from tests.reserved_port import ReservedPort
from tests.waiting import until
from tests.wire import Client, ask, get, says, upstream

WHERE = re.compile(r"on (\S.*) in front of")


@asynccontextmanager
async def gateway(folder: Path, up: int, listen: str, more: str = "") -> AsyncIterator[tuple[Process, list[str]]]:
    """Run a gateway. Yields it, and where it says that it listens."""
    async with Process.start(*cli("serve", "--config", configure(folder, up, listen, more))) as process:
        found = await process.says(WHERE.pattern)
        await process.says("worker_serving")
        yield process, found[1].split(", ")


def configure(folder: Path, up: int, listen: str, more: str = "") -> Path:
    (folder / "rules.yaml").write_text(RULES)
    file = folder / "gateway.yaml"
    control = "" if "control:" in more else "control: {listen: 127.0.0.1:0}\n"
    file.write_text(
        f"listen: {listen}\n{control}{more}\nrules: rules.yaml\n"
        f"upstreams: {{default: {{urls: [http://127.0.0.1:{up}]}}}}\n"
    )
    return file


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def test_several_addresses_are_served_at_once_each_with_tls_or_without(tmp_path: Path) -> None:
    keys, path = make_keys(tmp_path), tmp_path / "gw.sock"
    tls = "tls: {certificate: cert.pem, key: key.pem}"
    listen = f"['127.0.0.1:0', '[::1]:0', 'unix:{path}', {{port: 0, host: 127.0.0.2, {tls}}}]"
    async with upstream() as up, gateway(tmp_path, up.port, listen) as (process, where):
        plain, ipv6, unix, secure = where
        assert (plain[:17], ipv6[:13], unix) == ("http://127.0.0.1:", "http://[::1]:", f"unix:{path}")
        assert secure.startswith("https://127.0.0.2:")
        assert (await ask(port_of(plain), get())).status == 200
        assert (await ask(port_of(ipv6), get(), "::1")).status == 200
        assert (await ask(path, get())).status == 200
        async with Client.connect(port_of(secure), "127.0.0.2", ssl=keys.client, server_hostname="127.0.0.1") as client:
            assert (await client.ask(get())).status == 200
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0


async def test_the_flag_may_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    async with upstream() as up:
        flags = ("--listen", "127.0.0.1:0", "--listen", f"unix:{path}", "--control", "127.0.0.1:0")
        command = cli("serve", "--upstream", f"http://127.0.0.1:{up.port}", *flags)
        async with Process.start(*command) as process:
            where = (await process.says(WHERE.pattern))[1].split(", ")
            await process.says("worker_serving")
            assert (await ask(port_of(where[0]), get())).status == 200
            assert (await ask(path, get())).status == 200


async def test_ipv6_serves_ipv4_clients_too_if_it_is_told_to_and_knows_them_by_their_ipv4_address(
    tmp_path: Path,
) -> None:
    listen = "{host: '::', port: 0, ipv6_only: false}"
    async with upstream() as up, gateway(tmp_path, up.port, listen) as (_, (where,)):
        for host in ("127.0.0.1", "::1"):
            assert (await ask(port_of(where), get(), host)).status == 200
            assert up.requests[-1].one(b"x-forwarded-for") == host.encode()


async def test_ipv6_alone_refuses_ipv4_clients(tmp_path: Path) -> None:
    with ReservedPort() as port:  # so that nobody else listens there on IPv4
        async with upstream() as up, gateway(tmp_path, up.port, f"'[::]:{port.number}'"):
            assert (await ask(port.number, get(), "::1")).status == 200
            with pytest.raises(ConnectionRefusedError):
                await ask(port.number, get())


async def test_every_interface_of_both_families_on_one_port(tmp_path: Path) -> None:
    with ReservedPort() as reserved:
        port = reserved.number
        async with upstream() as up, gateway(tmp_path, up.port, f"['0.0.0.0:{port}', '[::]:{port}']"):
            assert (await ask(port, get())).status == 200
            assert (await ask(port, get(), "::1")).status == 200


async def test_real_clients_reach_a_unix_socket_whose_permissions_are_as_set(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    for mode, listen in (("0660", f"unix:{path}"), ("0606", f"{{unix: {path}, mode: 606}}")):
        async with upstream() as up, gateway(tmp_path, up.port, listen) as (process, _):
            found = path.stat()
            assert stat.S_ISSOCK(found.st_mode)
            assert f"{stat.S_IMODE(found.st_mode):04o}" == mode
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
                for size in (0, 3_000_000):
                    async with session.post("http://gw.test/", data=io.BytesIO(b"x" * size)) as response:
                        assert (response.status, await response.text()) == (200, "ok")
                    assert len(up.requests[-1].body) == size
            assert (await ask(path, get("/a"))).start == b"HTTP/1.1 200 OK"
            assert up.requests[-1].start == b"GET /a HTTP/1.1"
            assert up.requests[-1].one(b"host") == b"localhost"
            assert not up.requests[-1].all(b"x-forwarded-for")
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
            assert not path.exists()


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    async with upstream() as up:
        for _ in range(2):
            async with gateway(tmp_path, up.port, f"unix:{path}") as (process, _):
                assert (await ask(path, get())).status == 200
                process.kill()
                await process.ends()
                assert path.exists()


async def test_a_socket_on_which_another_gateway_listens_stays_its_own(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    async with upstream() as up, gateway(tmp_path, up.port, f"unix:{path}"):
        code, output = await run(*cli("serve", "--config", tmp_path / "gateway.yaml"))
        assert (code, f"cannot listen on unix:{path}: another program listens there" in output) == (1, True)
        assert (await ask(path, get())).status == 200


@pytest.mark.parametrize("kind", ["file", "folder", "link", "missing"])
async def test_what_is_no_socket_is_not_removed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "at" / "gw.sock"
    if kind != "missing":
        path.parent.mkdir()
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    code, output = await run(*cli("serve", "--config", configure(tmp_path, 9, f"unix:{path}")))
    assert code == 1
    why = "No such file or directory" if kind == "missing" else "a file is there that is no socket"
    assert f"cannot listen on unix:{path}: {why}" in output
    assert path.is_file() is (kind == "file")
    assert path.is_symlink() is (kind == "link")


async def test_a_peer_on_a_unix_socket_is_trusted_only_if_the_settings_name_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gw.sock"
    forwarded = get("/", "X-Forwarded-For: 192.0.2.1, 192.0.2.2", "X-User-Id: ana", "X-Forwarded-User: ana")
    for trusted, networks in ((True, "[unix]"), (False, "[127.0.0.0/8]"), (False, "[]")):
        more = f"identity: {{trusted_proxies: {networks}}}\n"
        async with upstream() as up, gateway(tmp_path, up.port, f"unix:{path}", more) as (process, _):
            assert (await ask(path, forwarded)).status == 200
            seen = up.requests[-1]
            assert seen.all(b"x-forwarded-for") == ([b"192.0.2.1, 192.0.2.2"] if trusted else [])
            assert seen.all(b"x-user-id") == ([b"ana"] if trusted else [])
            assert seen.all(b"x-forwarded-user") == ([b"ana"] if trusted else [])
            if not trusted:
                await process.says("proxy_not_trusted")


async def test_the_client_behind_a_trusted_peer_on_a_unix_socket_is_who_x_forwarded_for_names(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    file = configure(tmp_path, 9, f"unix:{path}", "access_log: true\nidentity: {trusted_proxies: [unix]}\n")
    (tmp_path / "rules.yaml").write_text("limits:\n  - {name: each, per: user, rate: 1/day, burst: 1}\n")
    async with upstream() as up:
        file.write_text(file.read_text().replace("127.0.0.1:9]", f"127.0.0.1:{up.port}]"))
        async with Process.start(*cli("serve", "--config", file)) as process:
            await process.says("worker_serving")
            for client, status in (("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 429)):
                assert (await ask(path, get("/", f"X-Forwarded-For: 198.51.100.9, {client}"))).status == status
            # Without the header they have no address, and are one client.
            for status in (200, 429):
                assert (await ask(path, get())).status == status
            await until(lambda: process.output.count('"event": "request"') == 5)
            callers = re.findall(r'"caller": "([0-9a-f]{32})"', process.output)
            assert len(callers) == 5
            assert len(set(callers)) == 3


async def test_clients_on_a_unix_socket_are_not_counted_as_one_address(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    more = "intake: {max_connections_per_address: 2, max_connections: 5}\nidentity: {trusted_proxies: []}\n"
    async with (
        upstream() as up,
        gateway(tmp_path, up.port, f"[unix:{path}, 127.0.0.1:0]", more) as (_, where),
        Client.connect(path) as a,
        Client.connect(path) as b,
        Client.connect(path) as c,
        Client.connect(port_of(where[1])) as d,
        Client.connect(port_of(where[1])) as e,
    ):
        for client in (a, b, c, d, e):
            assert (await client.ask(get())).status == 200
        async with Client.connect(path) as rejected:  # max_connections counts all of them
            assert b" 503 " in await rejected.closed()


async def test_the_control_plane_listens_on_several_addresses_too(tmp_path: Path) -> None:
    path, rules = tmp_path / "control.sock", "control: {listen: [127.0.0.1:0, 'unix:%s'], check_from: [%s]}\n"
    question = b'{"user_id": "ana", "endpoint": "GET /", "weight": 1}'
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(question)}"
    head = f"POST /api/v1/check-limit HTTP/1.1\r\n{fields}"
    for sources, status in (("unix", 200), ("127.0.0.0/8", 401)):
        async with gateway(tmp_path, 9, "127.0.0.1:0", rules % (path, sources)) as (process, _):
            port = int((await process.says(r"control +http://127\.0\.0\.1:(\d+), unix:"))[1])
            for where in (port, path):
                assert (await ask(where, get("/readyz"))).status == 200
            assert (await ask(path, f"{head}\r\n\r\n".encode() + question)).status == status
            if status == 401:
                await process.says('"source": "unix"')
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
            assert not path.exists()


@pytest.mark.parametrize("secure", [False, True])
async def test_no_request_on_a_unix_socket_is_lost_in_a_rolling_restart(secure: bool, tmp_path: Path) -> None:
    path, other, keys = tmp_path / "gw.sock", tmp_path / "other.sock", make_keys(tmp_path)
    tls = "tls: {certificate: cert.pem, key: key.pem}" if secure else "mode: 660"
    listen = f"[{{unix: {path}, {tls}}}, 127.0.0.1:0]"
    async with redis_server() as redis, upstream() as up:
        more = f"store: {{url: '{redis.url}', deadline: 5s}}\nworkers: 3\ncontrol: {{listen: 'unix:{other}'}}\n"
        async with gateway(tmp_path, up.port, listen, more) as (process, where):
            await process.says(r"(?s)(worker_serving.*){3}")
            inode = path.stat().st_ino
            options = {"ssl": keys.client, "server_hostname": "127.0.0.1"} if secure else {}
            async with crowd(path, **options) as asking, crowd(port_of(where[1])) as others:
                for _ in range(2):
                    await asking.asks(40)
                    await others.asks(40)
                    await restart(process)
                await asking.asks(40)
                await others.asks(40)
            assert asking.statuses.keys() == others.statuses.keys() == {200}
            assert path.stat().st_ino == inode
            assert (await ask(other, get("/readyz"))).status == 200
            assert len(up.requests) == asking.statuses.total() + others.statuses.total()
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
            assert "Traceback" not in process.output
            assert not path.exists()
            assert not other.exists()


async def test_a_worker_that_dies_leaves_the_socket_and_the_others_to_serve(tmp_path: Path) -> None:
    path = tmp_path / "gw.sock"
    async with redis_server() as redis, upstream() as up:
        more = f"store: {{url: '{redis.url}', deadline: 5s}}\nworkers: 2\n"
        async with gateway(tmp_path, up.port, f"unix:{path}", more) as (process, _):
            await process.says(r"(?s)(worker_serving.*){2}")
            os.kill(process.children[0], signal.SIGKILL)
            await process.says(r"(?s)(worker_serving.*){3}")
            for _ in range(20):
                assert (await ask(path, get())).status == 200


async def test_listeners_can_be_added_and_removed_in_a_rolling_restart(tmp_path: Path) -> None:
    first, second = tmp_path / "a.sock", tmp_path / "b.sock"
    async with upstream() as up, gateway(tmp_path, up.port, f"[unix:{first}, 127.0.0.1:0]") as (process, _):
        configure(tmp_path, up.port, f"[unix:{second}, 127.0.0.1:0]")
        await restart(process)
        assert (await ask(second, get())).status == 200
        assert not first.exists()
        second.unlink()  # somebody has cleaned up: the next restart makes it anew
        configure(tmp_path, up.port, f"[{{unix: {second}, mode: 600}}, 127.0.0.1:0]")
        await restart(process)
        assert (await ask(second, get())).status == 200
        assert stat.S_IMODE(second.stat().st_mode) == 0o600
        configure(tmp_path, up.port, f"[{{unix: {second}, mode: 666}}, 127.0.0.1:0]")
        await restart(process)
        assert stat.S_IMODE(second.stat().st_mode) == 0o666
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(str(first))
            taken.listen()
            configure(tmp_path, up.port, f"[unix:{first}, 127.0.0.1:0]")
            process.signal(signal.SIGUSR2)
            await process.says("restart refused")
            assert f"cannot listen on unix:{first}: another program listens there" in process.output
        assert (await ask(second, get())).status == 200


async def test_both_sides_may_be_unix_sockets(tmp_path: Path) -> None:
    path, app, size = tmp_path / "gw.sock", tmp_path / "app.sock", 3_000_000
    command = cli("serve", "--upstream", f"unix:{app}", "--listen", f"unix:{path}", "--control", "127.0.0.1:0")
    big = says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    async with upstream(big, port=app) as up, Process.start(*command) as process:
        await process.says(f"on unix:{path} in front of unix:{app}")
        await process.says("worker_serving")
        async with Client.connect(path) as client:
            for _ in range(3):
                head = f"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {size}\r\n\r\n"
                answer = await client.ask(head.encode() + b"y" * size)
                assert (answer.status, len(answer.body)) == (200, size)
        assert [request.body == b"y" * size for request in up.requests] == [True] * 3
        assert up.connections == 1
