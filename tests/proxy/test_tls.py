"""TLS towards clients and towards upstreams."""

import ssl
from pathlib import Path

import pytest
import trustme

from gateway.config.certificates import UnusableFileError, listener_context
from gateway.settings.listener import Tls
from tests.proxy.running import proxy
from tests.wire import Client, ask, get, upstream


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_side(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_listener_serves_tls_from_files(authority: trustme.CA, tmp_path: Path) -> None:
    leaf = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with (
        upstream() as up,
        proxy(up.port, ssl=listener_context(Tls(certificate, key))) as running,
        Client.connect(running.port, ssl=trusting) as client,
    ):
        assert (await client.ask(get())).status == 200
    assert up.requests[0].one(b"x-forwarded-proto") == b"https"


def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnusableFileError, match="No such file"):
        listener_context(Tls(tmp_path / "cert.pem", tmp_path / "key.pem"))
    (tmp_path / "cert.pem").write_text("nonsense")
    (tmp_path / "key.pem").write_text("nonsense")
    with pytest.raises(UnusableFileError, match="this is not a certificate in PEM"):
        listener_context(Tls(tmp_path / "cert.pem", tmp_path / "key.pem"))


async def test_an_https_upstream_has_to_prove_who_it_is(authority: trustme.CA, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    async with upstream(ssl=server_side(authority)) as up:
        async with proxy(up.port, scheme="https", ca=ca) as running:
            assert (await ask(running.port, get())).status == 200
        async with proxy(up.port, scheme="https") as running:  # signed by nobody the system knows
            assert (await ask(running.port, get())).status == 502
            assert "certificate verify failed" in running.seen.unreachable[0]
        async with proxy(up.port, scheme="https", verify=False) as running:
            assert (await ask(running.port, get())).status == 200
    async with (
        upstream(ssl=server_side(authority, "other.test")) as up,
        proxy(up.port, scheme="https", ca=ca) as running,
    ):
        assert (await ask(running.port, get())).status == 502
