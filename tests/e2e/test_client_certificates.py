"""Client certificates and the PROXY protocol from outside: real clients, and trust that changes while it runs."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from tests.e2e.test_identity import Gateway
from tests.kit.process import gateway
from tests.proxy.keys import Clients, Keys, make_keys
from tests.waiting import DEADLINE
from tests.wire import Client, get, upstream

HERE = Path(__file__).parent
SPIFFE = "spiffe://example.test/billing"
RULES = "limits: [{name: each, per: user, rate: 1/day, burst: 2}]\n"
LINE = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@asynccontextmanager
async def running(folder: Path, keys: Keys, clients: Clients, more: str = "") -> AsyncIterator[Gateway]:
    """A gateway that lets in whom `ca.pem` vouches for; `client.pem` is a client's certificate and key."""
    clients.issue(folder / "client.pem", uris=[SPIFFE])
    (folder / "ca.pem").write_bytes(clients.certificate)
    (folder / "rules.yaml").write_text(RULES)
    async with upstream() as up:
        (folder / "gateway.yaml").write_text(
            f"upstreams: {{default: {{urls: ['http://127.0.0.1:{up.port}']}}}}\nrules: rules.yaml\n"
            "identity: {sources: [{client_certificate: {name: uri}}]}\ncontrol: {listen: 127.0.0.1:0, state: state}\n"
            "listen:\n  host: 127.0.0.1\n  port: 0\n"
            f"  tls: {{certificate: {keys.certificate}, key: {keys.key}, client_ca: ca.pem}}\n{more}"
        )
        async with gateway("--config", folder / "gateway.yaml") as (process, public, control):
            yield Gateway(process, public, control)


async def output(*command: str | Path, sent: bytes = b"") -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE):
        return (await process.communicate(sent))[0].decode(errors="replace")


@pytest.mark.untraced
@pytest.mark.needs("go")
async def test_gos_client_is_limited_by_the_name_in_its_certificate(tmp_path: Path, keys: Keys) -> None:
    clients, stranger = Clients(trustme.CA()), tmp_path / "stranger.pem"
    Clients(trustme.CA()).issue(stranger, uris=[SPIFFE])
    async with running(tmp_path, keys, clients) as gw:
        program = ("go", "run", HERE / "certified.go", f"https://127.0.0.1:{gw.public}/", keys.authority)
        assert await output(*program, tmp_path / "client.pem") == "200\n200\n429\n"
        assert await output(*program, stranger) == "refused\n"


@pytest.mark.untraced
@pytest.mark.needs("openssl")
async def test_openssls_client_is_let_in_with_its_certificate_alone(tmp_path: Path, keys: Keys) -> None:
    clients, stranger = Clients(trustme.CA()), tmp_path / "stranger.pem"
    Clients(trustme.CA()).issue(stranger, uris=[SPIFFE])
    async with running(tmp_path, keys, clients) as gw:
        for more, served in (("-cert", tmp_path / "client.pem"), True), (("-cert", stranger), False), ((), False):
            program = ("openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{gw.public}", *more)
            said = await output(*program, sent=get("/", "Connection: close"))
            assert ("HTTP/1.1 200 OK" in said) is served
        assert set(await gw.rejections()) == {
            f'gateway_identity_rejected_total{{reason="{reason}",source="client_certificate"}}'
            for reason in ("missing", "untrusted")
        }


@asynccontextmanager
async def relayed(port: int, context: ssl.SSLContext) -> AsyncIterator[Client]:
    """A connection that a load balancer relays."""
    async with Client.connect(port) as client:
        await client.send(LINE)
        await client.writer.start_tls(context, server_hostname="127.0.0.1")
        yield client


async def test_trust_that_changes_is_in_force_from_the_reload_on(tmp_path: Path, keys: Keys) -> None:
    clients, others = Clients(trustme.CA()), Clients(trustme.CA())
    others.issue(tmp_path / "other.pem", uris=[SPIFFE])
    one, other = (ssl.create_default_context(cafile=keys.authority) for _ in range(2))
    async with running(tmp_path, keys, clients, "  proxy_protocol: [127.0.0.1]\n") as gw:
        one.load_cert_chain(tmp_path / "client.pem")
        other.load_cert_chain(tmp_path / "other.pem")
        async with relayed(gw.public, one) as client:
            assert (await client.ask(get())).status == 200
            (tmp_path / "ca.pem").write_bytes(others.certificate)
            gw.process.signal(signal.SIGHUP)
            await gw.process.says("certificates_reloaded")
            assert (await client.ask(get())).one(b"connection") == b"close"  # or it is closed while it is idle
        with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
            async with relayed(gw.public, one) as client:
                await client.ask(get())
        async with relayed(gw.public, other) as client:
            assert (await client.ask(get())).status == 429
        async with Client.connect(gw.public) as client:
            await client.send(get())
            assert await client.closed() == b""
        await gw.process.says('"event": "identity_rejected", "source": "proxy_protocol", "reason": "missing"')
        assert await gw.rejections() == {
            'gateway_identity_rejected_total{reason="missing",source="proxy_protocol"}': 1.0,
            'gateway_identity_rejected_total{reason="untrusted",source="client_certificate"}': 1.0,
        }
        for secret in (SPIFFE, "203.0.113.7"):
            assert secret not in gw.process.output
