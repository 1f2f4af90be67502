"""Client certificates: who has a good one is whom it names, on a connection that does not live for ever."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any

import pytest
import trustme
from cryptography.x509.oid import ExtendedKeyUsageOID

import gateway.proxy.preamble
from gateway.config.certificates import UnusableFileError, listener_context, load_certificates
from gateway.limits.identity import unreported
from gateway.limits.identity_source import Certificate, ClientCertificate
from gateway.limits.limit import Limit
from gateway.limits.quota import Quota
from gateway.limits.rate import Rate
from gateway.limits.rejection import Rejection
from gateway.proxy.client_certificate import read_certificate
from gateway.settings.gateway import Settings
from gateway.settings.listener import Listener, Tls
from gateway.settings.url import Origin
from tests.kit.identity import make_identity
from tests.proxy.keys import Clients, Keys
from tests.proxy.running import Running, proxy
from tests.waiting import until
from tests.wire import Client, get, upstream

SPIFFE = "spiffe://example.test/billing"
LIMIT = Limit("each", ("user",), Quota(Rate(1000, 1), 1000))


@pytest.fixture(scope="module")
def clients() -> Clients:
    return Clients(trustme.CA())


@pytest.fixture
def ca(clients: Clients, tmp_path: Path) -> Path:
    file = tmp_path / "clients.pem"
    file.write_bytes(clients.certificate)
    return file


def trusting(keys: Keys, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=keys.authority)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


@asynccontextmanager
async def listening(
    keys: Keys,
    ca: Path,
    mode: str = "required",
    sources: Sequence[ClientCertificate] = (ClientCertificate("uri"),),
    report: Callable[[Rejection], object] = unreported,
) -> AsyncIterator[Running]:
    tls = listener_context(Tls(keys.certificate, keys.key, ca, mode))  # type: ignore[arg-type]
    identity = make_identity(sources, (), report=report)
    async with upstream() as up, proxy(up.port, ssl=tls, identity=identity, limits=[LIMIT]) as running:
        yield running


def charged(running: Running) -> list[bytes]:
    return [demand.key[-32:] for demands in running.seen.demands for demand in demands]


@pytest.mark.parametrize("mode", ["required", "optional"])
@pytest.mark.parametrize("name", ["uri", "dns", "subject"])
async def test_a_client_is_whom_its_certificate_names_on_the_whole_connection(
    name: str, mode: str, keys: Keys, ca: Path, clients: Clients, tmp_path: Path
) -> None:
    issued = clients.issue(tmp_path / "client.pem", uris=[SPIFFE], hosts=["billing.test"], name="billing")
    user = {"uri": SPIFFE, "dns": "billing.test", "subject": sha256(issued.subject.public_bytes()).hexdigest()}[name]
    source = ClientCertificate(name)  # type: ignore[arg-type]
    async with (
        listening(keys, ca, mode, [source]) as running,
        Client.connect(running.port, ssl=trusting(keys, tmp_path / "client.pem")) as client,
    ):
        for _ in range(2):
            assert (await client.ask(get())).status == 200
        assert charged(running) == [make_identity().user(user).digest] * 2
        assert (running.seen.rejections, running.seen.causes) == ([], [])


async def test_without_a_certificate_the_next_source_is_asked_where_it_is_optional(keys: Keys, ca: Path) -> None:
    async with (
        listening(keys, ca, "optional") as running,
        Client.connect(running.port, ssl=trusting(keys)) as client,
    ):
        assert (await client.ask(get())).status == 200
        assert charged(running) != [make_identity().user(SPIFFE).digest]
        assert running.seen.rejections == []


async def refused(running: Running, context: ssl.SSLContext) -> None:
    """With TLS 1.3 a client learns that its certificate is refused when it reads (RFC 8446 section 4.4.2.4)."""
    try:
        async with Client.connect(running.port, ssl=context) as client:
            await client.send(get())
            assert await client.reader.read() == b""
    except OSError:  # an alert, or a reset
        pass
    await until(lambda: not running.server.held)


def trust(ca: Path, clients: Clients, *revoked: Any) -> None:
    ca.write_bytes(clients.certificate + clients.revoke(*revoked))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("mode", ["required", "optional"])
@pytest.mark.parametrize("reason", ["missing", "untrusted", "expired", "not_yet_valid", "revoked", "of a server"])
async def test_any_other_certificate_is_refused_and_counted(
    reason: str, mode: str, version: ssl.TLSVersion, keys: Keys, ca: Path, clients: Clients, tmp_path: Path
) -> None:
    if (reason, mode) == ("missing", "optional"):
        return
    file, issuer = tmp_path / "client.pem", Clients(trustme.CA()) if reason == "untrusted" else clients
    usage = ExtendedKeyUsageOID.SERVER_AUTH if reason == "of a server" else ExtendedKeyUsageOID.CLIENT_AUTH
    begins, ends = {"expired": (-60, -1), "not_yet_valid": (60, 3600)}.get(reason, (-60, 3600))
    issued = issuer.issue(file, uris=[SPIFFE], begins=begins, ends=ends, usage=usage)
    if reason == "revoked":
        trust(ca, clients, issued)
    context = trusting(keys, None if reason == "missing" else file)
    context.maximum_version = version
    async with listening(keys, ca, mode) as running:
        await refused(running, context)
        expected = "untrusted" if reason == "of a server" else reason
        assert running.seen.rejections == [("client_certificate", expected)]
        assert running.seen.causes == ["handshake"]


async def test_a_revocation_list_lets_others_in(keys: Keys, ca: Path, clients: Clients, tmp_path: Path) -> None:
    revoked = clients.issue(tmp_path / "revoked.pem", uris=[SPIFFE])
    clients.issue(tmp_path / "client.pem", uris=[SPIFFE])
    trust(ca, clients, revoked)
    async with (
        listening(keys, ca) as running,
        Client.connect(running.port, ssl=trusting(keys, tmp_path / "client.pem")) as client,
    ):
        assert (await client.ask(get())).status == 200


@pytest.mark.parametrize(
    ("uris", "reason"), [((), "no_name"), ((SPIFFE, "spiffe://example.test/other"), "several_names")]
)
async def test_a_certificate_without_one_name_identifies_nobody(
    uris: Sequence[str], reason: str, keys: Keys, ca: Path, clients: Clients, tmp_path: Path
) -> None:
    clients.issue(tmp_path / "client.pem", uris=uris, hosts=["billing.test"])
    found: list[str] = []
    sources = [ClientCertificate("uri")]
    async with (
        listening(keys, ca, sources=sources, report=lambda rejection: found.append(rejection.reason)) as running,
        Client.connect(running.port, ssl=trusting(keys, tmp_path / "client.pem")) as client,
    ):
        assert (await client.ask(get())).status == 200
        assert charged(running) != [make_identity().user(SPIFFE).digest]
    assert found == [reason]


def test_what_cannot_be_read_names_nobody_and_has_expired() -> None:
    assert read_certificate(b"nonsense") == Certificate((), (), "", 0.0)


async def test_from_its_age_on_a_connection_has_one_more_response(
    keys: Keys, ca: Path, clients: Clients, tmp_path: Path
) -> None:
    clients.issue(tmp_path / "client.pem", uris=[SPIFFE], ends=300)
    async with (
        listening(keys, ca) as running,
        Client.connect(running.port, ssl=trusting(keys, tmp_path / "client.pem")) as client,
    ):
        assert (await client.ask(get())).all(b"connection") == []
        (connection,) = running.server.connections
        left = connection._ages_at - asyncio.get_running_loop().time()
        assert 0 < left <= 300, "no longer than the certificate is valid"
        connection._ages_at = 0
        assert (await client.ask(get())).one(b"connection") == b"close"
        assert await client.closed() == b""


async def test_without_a_certificate_a_connection_has_an_age_as_well() -> None:
    async with upstream() as up, proxy(up.port) as running, Client.connect(running.port) as client:
        assert (await client.ask(get())).status == 200
        (connection,) = running.server.connections
        assert 3500 < connection._ages_at - asyncio.get_running_loop().time() <= 3600
        connection._ages_at = 0
        assert (await client.ask(get())).one(b"connection") == b"close"


async def test_when_trust_changes_connections_with_a_certificate_end_and_others_go_on(
    keys: Keys, ca: Path, clients: Clients, tmp_path: Path
) -> None:
    clients.issue(tmp_path / "client.pem", uris=[SPIFFE])
    async with (
        listening(keys, ca, "optional") as running,
        Client.connect(running.port, ssl=trusting(keys, tmp_path / "client.pem")) as one,
        Client.connect(running.port, ssl=trusting(keys)) as other,
    ):
        for client in (one, other):
            assert (await client.ask(get())).status == 200
        running.server.end_certified()
        assert (await one.ask(get())).one(b"connection") == b"close"
        assert (await other.ask(get())).all(b"connection") == []


async def test_a_handshake_under_way_while_trust_changes_leads_to_one_response(
    keys: Keys, ca: Path, clients: Clients, tmp_path: Path
) -> None:
    clients.issue(tmp_path / "client.pem", uris=[SPIFFE])
    contexts = iter([listener_context(Tls(keys.certificate, keys.key, ca)) for _ in ("before", "after")])
    identity = make_identity([ClientCertificate("uri")], ())
    async with (
        upstream() as up,
        proxy(up.port, ssl=lambda: next(contexts), identity=identity) as running,
        Client.connect(running.port, ssl=trusting(keys, tmp_path / "client.pem")) as client,
    ):
        assert (await client.ask(get())).one(b"connection") == b"close"


def resume(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
    """One request on a connection of its own, with a session of another one."""
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as talk,
    ):
        assert talk.session_reused is (session is not None)
        talk.sendall(get("/", "Connection: close"))
        return talk.recv(65_536), talk.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_resumed_session_does_not_outlive_the_certificate(
    version: ssl.TLSVersion, keys: Keys, ca: Path, clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients.issue(tmp_path / "client.pem", uris=[SPIFFE])
    context = trusting(keys, tmp_path / "client.pem")
    context.maximum_version = version
    async with listening(keys, ca) as running:
        response, session = await asyncio.to_thread(resume, running.port, context, None)
        assert response.startswith(b"HTTP/1.1 200 ")
        response, session = await asyncio.to_thread(resume, running.port, context, session)
        assert response.startswith(b"HTTP/1.1 200 ")
        assert charged(running) == [make_identity().user(SPIFFE).digest] * 2
        monkeypatch.setattr(gateway.proxy.preamble, "time", lambda: time() + 3700)
        response, _ = await asyncio.to_thread(resume, running.port, context, session)
        assert response.startswith(b"HTTP/1.1 503 ")
        assert running.seen.rejections == [("client_certificate", "expired")]
        await until(lambda: not running.server.held)


def test_authorities_that_cannot_be_used_are_told(keys: Keys, tmp_path: Path, clients: Clients) -> None:
    file = tmp_path / "ca.pem"
    for content in (b"nonsense", clients.revoke()):
        file.write_bytes(content)
        with pytest.raises(UnusableFileError, match="this file holds no certificate in PEM") as error:
            listener_context(Tls(keys.certificate, keys.key, file))
        assert error.value.key == "client_ca"


def test_what_a_file_expires_with_is_known(keys: Keys, tmp_path: Path, clients: Clients) -> None:
    ca, later = tmp_path / "ca.pem", clients.revoke()
    listener = Listener(tls=Tls(keys.certificate, keys.key, ca))
    settings = replace(Settings.of_one(Origin("http", "127.0.0.1", 9)), listen=(listener,))
    ca.write_bytes(clients.certificate)
    assert load_certificates(settings).expiries.keys() == {str(keys.certificate)}
    ca.write_bytes(clients.certificate + later)
    assert 3500 < load_certificates(settings).expiries[str(ca)] - time() <= 3600
