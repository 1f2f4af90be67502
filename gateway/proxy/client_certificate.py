"""`read_certificate`: what a client's certificate says, which OpenSSL has verified; and why it has not verified one."""

from hashlib import sha256
from ssl import SSLCertVerificationError, SSLError

from cryptography.x509 import (
    DNSName,
    ExtensionNotFound,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    load_der_x509_certificate,
)

from gateway.limits.identity_source import Certificate
from gateway.limits.rejection import Rejection

_REASONS = {9: "not_yet_valid", 10: "expired", 23: "revoked"}
"""By the codes of OpenSSL's X509_verify_cert; all others are about the chain, or what the certificate is for."""
_WHY = {
    "missing": "the client sent no certificate",
    "untrusted": "the client's certificate is not signed by an authority in client_ca, or not for clients",
    "not_yet_valid": "the client's certificate is not valid yet",
    "expired": "the client's certificate has expired",
    "revoked": "the client's certificate is revoked by a list in client_ca",
}


def read_certificate(der: bytes) -> Certificate:
    """The names in a certificate (RFC 5280 sections 4.1.2.6 and 4.2.1.6).

    One that OpenSSL takes and that cannot be read here names nobody, and has expired.
    """
    try:
        certificate = load_der_x509_certificate(der)
        subject = certificate.subject.public_bytes()
        expires = certificate.not_valid_after_utc.timestamp()
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return Certificate((), (), _digest(subject), expires)
    except ValueError:
        return Certificate((), (), "", 0.0)
    uris, hosts = names.get_values_for_type(UniformResourceIdentifier), names.get_values_for_type(DNSName)
    return Certificate(tuple(uris), tuple(hosts), _digest(subject), expires)


def _digest(subject: bytes) -> str:
    return sha256(subject).hexdigest()


def rejected(reason: str) -> Rejection:
    """A client certificate is refused for this reason."""
    return Rejection("client_certificate", reason, _WHY[reason])


def rejection_of(error: OSError) -> Rejection | None:
    """Why a handshake failed, if a client's certificate is the reason; else None."""
    if isinstance(error, SSLCertVerificationError):
        return rejected(_REASONS.get(error.verify_code, "untrusted"))
    if isinstance(error, SSLError) and error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return rejected("missing")
    return None
