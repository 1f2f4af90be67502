"""`FailureReason`: why an upstream gave no complete response, in words that are labels of a metric."""

import ssl
from enum import Enum

from gateway.proxy.lookup import LookupFailedError, NoSuchNameError


class FailureReason(Enum):
    """What happened between the gateway and an upstream. operations.md says what to do about each."""

    UNRESOLVED = "unresolved"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    CERTIFICATE = "certificate"
    CLIENT_CERTIFICATE = "client_certificate"
    NO_TLS = "no_tls"
    TLS = "tls"
    BUSY = "busy"
    HEAD_TIMEOUT = "head_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    CLOSED = "closed"
    RESET = "reset"
    TLS_ON_HTTP = "tls_on_http"
    MALFORMED = "malformed"
    UNHEALTHY = "unhealthy"


_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")
"""How an alert and a handshake message of TLS begin (RFC 8446 section 5.1)."""

_REJECTS_OURS = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_UNKNOWN_CA", "ALERT_CERTIFICATE")
"""In OpenSSL's names of alerts: the peer wants a certificate, or does not accept ours."""

_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE")
"""What OpenSSL says of bytes that are not TLS."""


def reason_of(error: BaseException | None) -> FailureReason:
    """Why a connection could not be made, or was lost; None is an end without an error."""
    while isinstance(error, OSError) and error.__cause__ is not None:
        error = error.__cause__
    if error is None:
        return FailureReason.CLOSED
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    return next((found for kind, found in _BY_TYPE.items() if isinstance(error, kind)), FailureReason.UNREACHABLE)


def _tls_reason(error: ssl.SSLError) -> FailureReason:
    if isinstance(error, ssl.SSLCertVerificationError):
        return FailureReason.CERTIFICATE
    name = error.reason or ""
    if any(each in name for each in _REJECTS_OURS):
        return FailureReason.CLIENT_CERTIFICATE
    return FailureReason.NO_TLS if any(each in name for each in _NO_TLS) else FailureReason.TLS


_BY_TYPE: dict[type[BaseException], FailureReason] = {
    LookupFailedError: FailureReason.UNRESOLVED,
    NoSuchNameError: FailureReason.UNRESOLVED,
    TimeoutError: FailureReason.CONNECT_TIMEOUT,
    ConnectionRefusedError: FailureReason.REFUSED,
    ConnectionResetError: FailureReason.RESET,
    BrokenPipeError: FailureReason.RESET,
    ConnectionAbortedError: FailureReason.CLOSED,
}


def is_tls(data: bytes) -> bool:
    """Whether the first bytes of a response are TLS, as of a server that expects it on this port."""
    return data.startswith(_TLS_RECORDS)
