"""`load_certificates`: the TLS contexts of listeners and upstreams, made of the files that the settings name.

They are made when the gateway starts, before it forks, and again at each reload. A file that was replaced is used from
the next reload on, in every worker or in none.
"""

import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from ssl import SSLContext

from cryptography.x509 import load_pem_x509_certificates, load_pem_x509_crl

from gateway.config.diagnostic import ConfigError, Diagnostic
from gateway.settings.gateway import CONTROL, PUBLIC, Settings
from gateway.settings.listener import Tls
from gateway.settings.upstream import Upstream

Name = str | Tls
"""Whose certificates: an upstream's, by its name, or a listener's, by its setting."""

_NO_AUTHORITY = "this file holds no certificate in PEM; it should start with -----BEGIN CERTIFICATE-----"
_LIST = b"-----BEGIN X509 CRL-----"
"""How a list of revoked certificates begins (RFC 7468 section 6)."""
_LISTS = re.compile(_LIST + b".*?-----END X509 CRL-----", re.DOTALL)
_OTHER_KEY = "this is the key of another certificate"
_NO_PAIR = (
    "this is not a certificate in PEM followed by its chain, or 'key' is not its private key in PEM, without a password"
)


class UnusableFileError(Exception):
    """A file cannot be used.

    Attributes:
        key: Which: ``ca``, ``client_ca``, ``certificate`` or ``key``.
        why: A sentence for operators.
    """

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key
        self.why = why


@dataclass(frozen=True, slots=True)
class Certificates:
    """TLS contexts.

    Attributes:
        contexts: By name.
        digests: Of what the files held of which each was made.
        expiries: When what is in the files expires, in seconds since 1970, by the name that operators have for it: the
            first certificate of those that the gateway presents, chain included, and the first revocation list of a
            `client_ca`, without which no client is let in. A file that cannot be read this way has none.
    """

    contexts: Mapping[Name, SSLContext]
    digests: Mapping[Name, str]
    expiries: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of all files together: the same in each worker that has read the same."""
        return sha256("".join(self.digests.values()).encode()).hexdigest()

    def changed_since(self, before: "Certificates") -> list[str]:
        """What has other certificates than before, as operators name it."""
        changed = {name for name, digest in self.digests.items() if before.digests.get(name) != digest}
        return sorted(map(_name_of, changed))


def load_certificates(settings: Settings, before: Certificates | None = None) -> Certificates:
    """Read the files, and make what connections need of them.

    Args:
        settings: Name the files.
        before: The contexts in force. Those of files that have not changed are used again.

    Raises:
        ConfigError: with all problems.
    """
    contexts: dict[Name, SSLContext] = {}
    digests: dict[Name, str] = {}
    expiries: dict[str, float] = {}
    problems: list[Diagnostic] = []
    for name, places, files, make in _wanted(settings):
        try:
            digest = _digest(files)
            if before is not None and before.digests.get(name) == digest:
                contexts[name] = before.contexts[name]
            else:
                contexts[name] = make()
                _check_unchanged(files, digest)
            digests[name] = digest
            for known, file in ((_name_of(name), "certificate"), (str(files.get("client_ca")), "client_ca")):
                if file in files and (expiry := _EXPIRY[file](files[file])) is not None:
                    expiries[known] = expiry
        except UnusableFileError as error:
            problems.append(Diagnostic(str(files[error.key]), 0, 0, places[error.key], error.why))
    if problems:
        raise ConfigError(problems)
    return Certificates(contexts, digests, expiries)


def certificate_files(settings: Settings) -> dict[str, Path]:
    """The files that are read, by the keys of the settings that name them."""
    return {places[key]: file for _, places, files, _ in _wanted(settings) for key, file in files.items()}


def upstream_context(upstream: Upstream) -> SSLContext:
    """What connections to an https upstream use.

    Raises:
        UnusableFileError: a file cannot be used.
    """
    tls = upstream.tls
    authorities = tls.ca or upstream.ca
    if authorities is not None:
        check_authorities(authorities)
    context = ssl.create_default_context(cafile=authorities)
    if not upstream.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_RENEGOTIATION
    if tls.certificate is not None and tls.key is not None:
        _load_pair(context, tls.certificate, tls.key)
    return context


def listener_context(tls: Tls) -> SSLContext:
    """What a listener serves TLS with: its certificate, the versions and the protocol it offers, and whom it lets in.

    Raises:
        UnusableFileError: a file cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, tls.certificate, tls.key)
    if tls.client_ca is not None:
        check_authorities(tls.client_ca, "client_ca")
        context.load_verify_locations(tls.client_ca)
        # What is in the file is trusted, an authority below another one as well. Python 3.13 has both by default.
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        if _LIST in tls.client_ca.read_bytes():
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        context.verify_mode = ssl.CERT_REQUIRED if tls.client_certificate == "required" else ssl.CERT_OPTIONAL
    return context


def check_authorities(file: Path, key: str = "ca") -> None:
    """Check that a file holds certificates to trust.

    Args:
        file: The file.
        key: What names it.

    Raises:
        UnusableFileError: it does not.
    """
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(file)
    except (OSError, ssl.SSLError) as error:
        raise UnusableFileError(key, _reason(error) or _NO_AUTHORITY) from None
    if not context.cert_store_stats()["x509"]:  # but revocation lists only
        raise UnusableFileError(key, _NO_AUTHORITY)


def check_certificate(certificate: Path, key: Path) -> None:
    """Check that a certificate and a private key are a pair.

    Raises:
        UnusableFileError: they are not.
    """
    _load_pair(SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)


def _load_pair(context: SSLContext, certificate: Path, key: Path) -> None:
    try:
        # No password: OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise UnusableFileError("key", _OTHER_KEY) from None
        raise UnusableFileError("certificate", _reason(error) or _NO_PAIR) from None


def _reason(error: OSError) -> str:
    """Why a file cannot be read; empty if it can be, and holds something else."""
    return "" if isinstance(error, ssl.SSLError) or not error.strerror else error.strerror


_Wanted = tuple[Name, Mapping[str, str], Mapping[str, Path], Callable[[], SSLContext]]


def _wanted(settings: Settings) -> Iterable[_Wanted]:
    """Each context: its name; where in the settings its files are, and which they are, by key; and how it is made."""
    for upstream in settings.upstreams.values():
        if any(url.scheme == "https" for url in upstream.urls):
            tls = upstream.tls
            files = {"ca": tls.ca or upstream.ca, "certificate": tls.certificate, "key": tls.key}
            given = {key: file for key, file in files.items() if file is not None}
            places = _places(f"upstreams.{upstream.name}.tls")
            if upstream.ca is not None:
                places["ca"] = f"upstreams.{upstream.name}.ca"
            yield upstream.name, places, given, partial(upstream_context, upstream)
    for plane, listeners in settings.listeners.items():
        for served in dict.fromkeys(listener.tls for listener in listeners if listener.tls is not None):
            files = {"certificate": served.certificate, "key": served.key, "client_ca": served.client_ca}
            given = {key: file for key, file in files.items() if file is not None}
            place = {PUBLIC: "listen", CONTROL: "control.listen"}.get(plane, f"doors.{plane}.listen")
            yield served, _places(f"{place}.tls"), given, partial(listener_context, served)


def _name_of(name: Name) -> str:
    return f"upstreams.{name}" if isinstance(name, str) else str(name.certificate)


def _expiry(file: Path) -> float | None:
    """When the first certificate of a file expires; None if it is unknown, which OpenSSL may not mind."""
    try:
        certificates = load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return None
    return min(each.not_valid_after_utc.timestamp() for each in certificates)


def _first_update(file: Path) -> float | None:
    """When the first revocation list of a file has to be replaced; None if there is none, or it is unknown."""
    try:
        lists = [load_pem_x509_crl(each) for each in _LISTS.findall(file.read_bytes())]
    except (OSError, ValueError):
        return None
    return min((each.next_update_utc.timestamp() for each in lists if each.next_update_utc is not None), default=None)


_EXPIRY: Mapping[str, Callable[[Path], float | None]] = {"certificate": _expiry, "client_ca": _first_update}


def _places(section: str) -> dict[str, str]:
    return {key: f"{section}.{key}" for key in ("ca", "client_ca", "certificate", "key")}


def _check_unchanged(files: Mapping[str, Path], digest: str) -> None:
    if _digest(files) != digest:
        raise UnusableFileError(next(iter(files)), "the files changed while they were read; reload again")


def _digest(files: Mapping[str, Path]) -> str:
    digest = sha256()
    for key, file in files.items():
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UnusableFileError(key, error.strerror or str(error)) from None
        digest.update(b"%s %d " % (key.encode(), len(content)) + content)
    return digest.hexdigest()
