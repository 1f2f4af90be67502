"""`CertificateBook`: the certificates in force in a worker, which reloads replace."""

from collections.abc import Callable
from ssl import SSLContext, SSLObject, SSLSocket

from gateway.config.certificates import Certificates
from gateway.settings.listener import Tls


class CertificateBook:
    """Holds the certificates in force.

    Args:
        current: What was made of them at first.
        follow: Called with what replaces it.

    Attributes:
        current: The certificates in force.
        follow: As above.
    """

    def __init__(self, current: Certificates) -> None:
        self.current = current
        self.follow: Callable[[Certificates], object] = _ignore

    def replace(self, certificates: Certificates) -> None:
        """Use other certificates from now on, for new connections."""
        self.current = certificates
        self.follow(certificates)

    def context_of(self, tls: Tls | None) -> Callable[[], SSLContext] | None:
        """What a connection that begins now serves TLS with, for this setting of a listener; None for plain HTTP."""
        return None if tls is None else lambda: self.current.contexts[tls]

    def serving(self, tls: Tls | None) -> SSLContext | None:
        """What a listener serves TLS with, for as long as it listens; None for plain HTTP.

        Each connection gets the certificate that is in force when it begins.
        """
        if tls is None:
            return None
        context = self.current.contexts[tls]

        def switch(connection: SSLObject | SSLSocket, _name: str | None, _context: SSLContext) -> None:
            connection.context = self.current.contexts[tls]

        context.sni_callback = switch  # called for a client that sends no name, too
        return context


def _ignore(_certificates: Certificates) -> None:
    pass
