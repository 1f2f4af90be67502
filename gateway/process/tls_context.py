"""The TLS context of a listener: its certificate, the versions and the protocol it offers."""

import ssl

from gateway.process.sockets import ListenError
from gateway.settings.listener import Tls


def tls_context(tls: Tls | None) -> ssl.SSLContext | None:
    """What a listener serves TLS with; None for plain HTTP.

    Raises:
        ListenError: certificate or key cannot be used.
    """
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ListenError(f"cannot serve TLS with {tls.certificate} and {tls.key}: {error}") from error
    return context
