"""Makes keys and signs tokens, for `gateway token`. The gateway itself never signs."""

import os
from collections.abc import Collection, Mapping
from hmac import compare_digest
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple
from uuid import uuid4

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.auth.grant import Scope
from gateway.config.operator_error import OperatorError
from gateway.settings.token_key import Algorithm


class SigningError(OperatorError):
    """A key cannot be made, read or used. The message quotes nothing of it."""


class KeyFiles(NamedTuple):
    """The files of a new key.

    Attributes:
        private: The key that signs; only its owner may read it.
        public: The key that verifies, in PEM; None for a shared secret.
    """

    private: Path
    public: Path | None


_CURVES: Mapping[Algorithm, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1,
}  # fmt: skip
"""RFC 7518 section 3.4."""
_OF_RSA: Collection[Algorithm] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class SigningKey(NamedTuple):
    """A key that signs tokens, and the only algorithm it is used with (RFC 8725 section 3.1)."""

    algorithm: Algorithm
    key: Any

    def used_with(self, algorithm: Algorithm) -> "SigningKey | None":
        """The key, used with another algorithm; None if that takes other keys. Which one, a file does not say."""
        if algorithm == self.algorithm or {algorithm, self.algorithm} <= set(_OF_RSA):
            return self._replace(algorithm=algorithm)
        return None


def make_key(algorithm: Algorithm, stem: Path) -> KeyFiles:
    """Make a key: ``STEM.key``, and ``STEM.pem`` if another key verifies. Existing files are not overwritten.

    Raises:
        SigningError: a file exists already, or cannot be written.
    """
    private, public = stem.with_name(f"{stem.name}.key"), stem.with_name(f"{stem.name}.pem")
    if algorithm == "HS256":
        _write(private, token_hex(32).encode() + b"\n", 0o600)
        return KeyFiles(private, None)
    key = _generate(algorithm)
    _write(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return KeyFiles(private, public)


def _generate(algorithm: Algorithm) -> Any:
    if algorithm in _OF_RSA:
        return rsa.generate_private_key(65537, 3072)
    curve = _CURVES.get(algorithm)
    return ec.generate_private_key(curve()) if curve is not None else ed25519.Ed25519PrivateKey.generate()


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise SigningError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def read_key(path: Path) -> SigningKey:
    """The private key in a file: PEM, or else a shared secret. One of RSA is for RS256; see `used_with`.

    Raises:
        SigningError: it cannot be read, or is not a key of a supported algorithm.
    """
    try:
        content = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise SigningError(f"{path}: {error.strerror}") from error
    if not content.startswith(b"-----BEGIN "):
        return shared_secret(content)
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SigningError(f"{path} is not an unencrypted private key in PEM") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SigningKey("EdDSA", key)
    if isinstance(key, rsa.RSAPrivateKey):
        return SigningKey("RS256", key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        for algorithm, curve in _CURVES.items():
            if isinstance(key.curve, curve):
                return SigningKey(algorithm, key)
    raise SigningError(f"{path} is not a key for RSA, for ES256, ES384 or ES512, or for EdDSA")


def verifies(known: bytes, signing: SigningKey) -> bool:
    """Whether the gateway's key, a public one in PEM or a shared secret, verifies what `signing` signs."""
    if signing.algorithm == "HS256":
        return compare_digest(known, signing.key)
    return bool(load_pem_public_key(known) == signing.key.public_key())


def shared_secret(secret: bytes) -> SigningKey:
    """A key for HS256.

    Raises:
        SigningError: it is shorter than 32 bytes (RFC 7518 section 3.2).
    """
    if len(secret) < 32:  # noqa: PLR2004
        raise SigningError(f"a secret for HS256 is at least 32 bytes long, this one has {len(secret)}")
    return SigningKey("HS256", secret)


def issue(
    key: SigningKey,
    *,
    subject: str,
    scopes: Collection[Scope],
    audience: str,
    issuer: str,
    now: int,
    lifetime: int,
    kid: str | None = None,
) -> str:
    """Sign a new admin token.

    Args:
        key: Signs it.
        subject: Who will bear it.
        scopes: What it permits.
        audience: As in the gateway's settings.
        issuer: As in the gateway's settings.
        now: Seconds since 1970.
        lifetime: Seconds.
        kid: The key's name in the gateway's settings.
    """
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "jti": str(uuid4()),
        "iat": now,
        "exp": now + lifetime,
        "scope": " ".join(scope.value for scope in scopes),
    }
    return jwt.encode(claims, key.key, algorithm=key.algorithm, headers={"kid": kid} if kid else None)
