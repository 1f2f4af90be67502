"""A certificate for 127.0.0.1, and what trusts it."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


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
