"""TLS towards upstreams: the gateway's own certificate, an authority of one's own, and another name than the URL's."""

import ssl
from pathlib import Path

import pytest
import trustme

from gateway.settings.upstream import UpstreamTls
from tests.kit.process import Process
from tests.proxy.keys import wanting_certificates, write_pair
from tests.proxy.running import proxy
from tests.wire import Conversation, ask, get, upstream

SERVERS = Path(__file__).parent / "servers"
COMMANDS = {"node": ("node", SERVERS / "mutual.js"), "go": ("go", "run", SERVERS / "mutual.go")}
NEEDS = [pytest.param(each, marks=pytest.mark.needs(each)) for each in COMMANDS]


async def who(talk: Conversation) -> None:
    """Answers with the name in the client's certificate."""
    certificate = talk.writer.get_extra_info("peercert")
    names = dict(pair for part in certificate["subject"] for pair in part)
    while True:
        await talk.request()
        name = names["commonName"].encode()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.mark.parametrize("server", NEEDS)
async def test_real_servers_that_want_a_certificate_get_it(
    server: str, authority: trustme.CA, ca: Path, tmp_path: Path
) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "other").mkdir()
    files = write_pair(authority, tmp_path / "server", "server", "127.0.0.1")
    certificate, key = write_pair(authority, tmp_path, "gateway-7")
    strange = write_pair(trustme.CA(), tmp_path / "other", "gateway-8")
    async with Process.start(*COMMANDS[server], *files, ca) as process:
        port = int((await process.says(r"(?m)^(\d+)$"))[1])
        async with proxy(port, scheme="https", tls=UpstreamTls(ca, certificate, key)) as running:
            for _ in range(3):
                answer = await ask(running.port, get())
                assert (answer.status, answer.body) == (200, b"gateway-7")
        for tls in (UpstreamTls(ca), UpstreamTls(ca, *strange)):
            async with proxy(port, scheme="https", tls=tls) as running:
                assert (await ask(running.port, get())).status == 502


async def test_a_server_that_wants_a_certificate_gets_it_over_tls_1_2_too(
    authority: trustme.CA, ca: Path, tmp_path: Path
) -> None:
    certificate, key = write_pair(authority, tmp_path, "gateway-7")
    context = wanting_certificates(authority, authority, "127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with upstream(who, ssl=context) as up:
        async with proxy(up.port, scheme="https", tls=UpstreamTls(ca, certificate, key)) as running:
            assert (await ask(running.port, get())).body == b"gateway-7"
        async with proxy(up.port, scheme="https", tls=UpstreamTls(ca)) as running:
            assert (await ask(running.port, get())).status == 502


@pytest.mark.parametrize(
    ("hosts", "server_name", "sent", "status"),
    [
        (["app.test"], "app.test", "app.test", 200),
        (["app.test"], "APP.test", "APP.test", 200),
        (["app.test"], "other.test", "other.test", 502),
        (["app.test"], None, None, 502),  # the URL's host is 127.0.0.1, which has no SNI (RFC 6066 section 3)
        (["127.0.0.1"], None, None, 200),
        (["192.0.2.7"], "192.0.2.7", None, 200),
        (["127.0.0.1"], "192.0.2.7", None, 502),
        (["*.app.test"], "eu.app.test", "eu.app.test", 200),
    ],
)
async def test_the_server_name_is_sent_and_verified(
    hosts: list[str], server_name: str | None, sent: str | None, status: int, authority: trustme.CA, ca: Path
) -> None:
    names: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*hosts).configure_cert(context)
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    async with (
        upstream(ssl=context) as up,
        proxy(up.port, scheme="https", tls=UpstreamTls(ca, server_name=server_name), send_host="upstream") as running,
    ):
        assert (await ask(running.port, get())).status == status
        assert set(names) == {sent}
        if status == 200:
            assert up.requests[0].one(b"host") == f"127.0.0.1:{up.port}".encode()  # HTTP's name stays the URL's
        else:
            assert "certificate is not valid for" in running.seen.unreachable[0]


async def test_the_server_name_is_sent_without_verification_too(authority: trustme.CA) -> None:
    names: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("other.test").configure_cert(context)
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    tls = UpstreamTls(server_name="app.test")
    async with upstream(ssl=context) as up, proxy(up.port, scheme="https", tls=tls, verify=False) as running:
        assert (await ask(running.port, get())).status == 200
        assert names == ["app.test"]
