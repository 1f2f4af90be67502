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
