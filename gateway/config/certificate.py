"""Reads where certificates are, and makes sure that they can be used before anything is started with them."""

import ssl
from pathlib import Path

from gateway.config.fields import Fields
from gateway.config.node import Node
from gateway.config.scalar import file


def authorities(node: Node) -> Path:
    """A file of certificates to trust, in PEM."""
    found = file(node)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(found)
    except (OSError, ssl.SSLError):
        raise node.refuse(
            "there is no certificate in PEM in this file: -----BEGIN CERTIFICATE----- and what follows"
        ) from None
    return found


def check_pair(fields: Fields) -> None:
    """Note when ``certificate`` and ``key`` cannot be used together; when one is not there, that has been noted."""
    certificate, key = fields.values.get("certificate"), fields.values.get("key")
    if certificate is None or key is None:
        return
    try:
        # No password: OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            fields.at("key").refuse("this is the key of another certificate")
        else:
            fields.at("certificate").refuse(
                "this is not a certificate in PEM with the chain behind it, or 'key' is not its private key in PEM, "
                "without a password"
            )
