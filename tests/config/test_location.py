"""Certificates that cannot be used are told with all other mistakes, before anything is started."""

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.config import location
from tests.config.reading import UPSTREAMS, gateway_problems, read, write_certificates

NO_CERTIFICATE = "this file holds no certificate in PEM; it should start with -----BEGIN CERTIFICATE-----"
HTTPS = "upstreams: {default: {urls: [https://a], ca: junk}}\n"
POSTGRES = "analytics: {postgres: {url: 'postgresql://a@b/c', ca: junk}}\n"
REDIS = "store: {url: rediss://a, tls: {ca: junk}}\n"
TRACING = "tracing: {endpoint: 'https://a/v1/traces', ca: junk}\n"


@pytest.mark.parametrize(
    ("text", "upstreams", "place"),
    [
        ("", HTTPS, "1:46: upstreams.default.ca"),
        ("", HTTPS.replace("ca: junk", "tls: {ca: junk}"), "1:52: upstreams.default.tls.ca"),
        (POSTGRES, UPSTREAMS, "1:55: analytics.postgres.ca"),
        (REDIS, UPSTREAMS, "1:36: store.tls.ca"),
        (TRACING, UPSTREAMS, "1:48: tracing.ca"),
    ],
)
def test_what_holds_no_certificates_cannot_be_trusted(tmp_path: Path, text: str, upstreams: str, place: str) -> None:
    (tmp_path / "junk").write_text("junk")
    assert gateway_problems(tmp_path, text, upstreams=upstreams) == [f"gateway.yaml:{place}: {NO_CERTIFICATE}"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("listen: {{tls: {{certificate: {}, key: {}}}}}\n", "listen.tls"),
        ("control: {{listen: {{tls: {{certificate: {}, key: {}}}}}}}\n", "control.listen.tls"),
        ("upstreams: {{default: {{urls: [https://a], tls: {{certificate: {}, key: {}}}}}}}\n", "upstreams.default.tls"),
        ("store: {{url: rediss://a, tls: {{certificate: {}, key: {}}}}}\n", "store.tls"),
    ],
)
def test_a_certificate_comes_with_its_own_key(tmp_path: Path, text: str, place: str) -> None:
    write_certificates(tmp_path, "one")
    write_certificates(tmp_path, "other")
    (tmp_path / "junk").write_text("junk")
    upstreams = "" if text.startswith("upstreams") else UPSTREAMS
    (of_another,) = gateway_problems(tmp_path, text.format("one", "other"), upstreams=upstreams)
    assert of_another.endswith(f"{place}.key: this is the key of another certificate")
    for certificate, key in (("one", "junk"), ("junk", "one")):
        (unreadable,) = gateway_problems(tmp_path, text.format(certificate, key), upstreams=upstreams)
        assert f"{place}.certificate: this is not a certificate in PEM" in unreadable


def test_nobody_is_asked_for_the_password_of_a_key(tmp_path: Path) -> None:
    pair = trustme.CA().issue_cert("localhost")
    key = load_pem_private_key(pair.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2"))
    (tmp_path / "key").write_bytes(locked)
    (tmp_path / "certificate").write_bytes(pair.cert_chain_pems[0].bytes())
    (problem,) = gateway_problems(tmp_path, "listen: {tls: {certificate: certificate, key: key}}\n")
    assert problem.endswith("in PEM, without a password")


def test_path_is_relative_to_the_file_that_names_it() -> None:
    assert read(location.path, "rules") == Path("conf/rules")
    assert read(location.path, "/etc/rules") == Path("/etc/rules")
