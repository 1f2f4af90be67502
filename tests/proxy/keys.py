"""A certificate for 127.0.0.1, and what trusts it."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Keys:
    """A certificate for 127.0.0.1, and contexts for both sides."""

    authority: Path
    certificate: Path
    key: Path
    server: ssl.SSLContext
    client: ssl.SSLContext


def make_keys(folder: Path) -> Keys:
    """Issue a certificate by an authority of its own, and write both to files."""
    authority, certificate, key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    made = trustme.CA()
    leaf = made.issue_cert("127.0.0.1")
    made.cert_pem.write_to_path(authority)
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    server, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    leaf.configure_cert(server)
    made.configure_trust(trusting)
    return Keys(authority, certificate, key, server, trusting)


def write_pair(authority: trustme.CA, folder: Path, name: str, *hosts: str) -> tuple[Path, Path]:
    """Issue a certificate with a common name, for hosts if it is a server's. Returns the files of it and of its key.

    They replace those that are there as a careful program does it: each file at once.
    """
    leaf = authority.issue_cert(*(hosts or ("client.test",)), common_name=name)
    files = folder / "cert.pem", folder / "key.pem"
    for file, pem in zip(files, (leaf.cert_chain_pems[0], leaf.private_key_pem), strict=True):
        new = file.with_suffix(".new")
        pem.write_to_path(new)
        new.replace(file)
    return files


def wanting_certificates(authority: trustme.CA, clients: trustme.CA, *hosts: str) -> ssl.SSLContext:
    """For a server with these names that wants a certificate of its clients."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*hosts).configure_cert(context)
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class Clients:
    """An authority that issues certificates for clients, with names of any kind, and revokes them.

    Attributes:
        certificate: The authority's own, in PEM.
    """

    def __init__(self, authority: trustme.CA) -> None:
        self.certificate = authority.cert_pem.bytes()
        self._authority = x509.load_pem_x509_certificate(self.certificate)
        key = load_pem_private_key(authority.private_key_pem.bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        self._key = key

    def issue(
        self,
        file: Path,
        *,
        uris: Sequence[str] = (),
        hosts: Sequence[str] = (),
        name: str = "client",
        begins: float = -60.0,
        ends: float = 3600.0,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    ) -> x509.Certificate:
        """Write a certificate and its key to one file; its times are in seconds from now."""
        key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
        names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, hosts)]
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(seconds=begins))
            .not_valid_after(now + timedelta(seconds=ends))
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        issued = builder.sign(self._key, SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(issued.public_bytes(Encoding.PEM) + pem)
        return issued

    def revoke(self, *revoked: x509.Certificate) -> bytes:
        """A list of revoked certificates, in PEM."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._authority.subject)
            .last_update(now - timedelta(minutes=1))
            .next_update(now + timedelta(hours=1))
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)
