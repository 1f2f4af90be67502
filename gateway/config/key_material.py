"""`KeyMaterial`: what the files hold that the settings name, other than rules: certificates, and keys.

A worker has one `KeyMaterialBook`, of what is in force in it. Reloads replace it as a whole.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

from gateway.config.certificate_book import CertificateBook
from gateway.config.certificates import Certificates, load_certificates
from gateway.config.diagnostic import ConfigError, Diagnostic
from gateway.config.keys import Keys, load_keys
from gateway.settings.gateway import Settings

_PAUSE = 0.001
"""Seconds after each millisecond of work, in which the event loop is not kept waiting for the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """Certificates and keys.

    Attributes:
        certificates: Of listeners and upstreams.
        keys: Of tokens, and API keys.
    """

    certificates: Certificates
    keys: Keys = field(default_factory=Keys)

    @property
    def digest(self) -> str:
        """Of all files together: the same in each worker that has read the same."""
        return sha256("".join([self.certificates.digest, *self.keys.digests.values()]).encode()).hexdigest()

    def changes_since(self, before: "KeyMaterial") -> dict[str, Any]:
        """What differs, without the keys themselves. May take long."""
        return {
            "certificates": self.certificates.changed_since(before.certificates),
            "keys": self.keys.changes_since(before.keys),
        }


def load_key_material(
    settings: Settings, before: KeyMaterial | None = None, pause: Callable[[], object] = lambda: None
) -> KeyMaterial:
    """Read the files. Blocks.

    Args:
        settings: Name them.
        before: What is in force. What has not changed is used again.
        pause: Called about every millisecond, to let others have the interpreter.

    Raises:
        ConfigError: with all problems.
    """
    problems: list[Diagnostic] = []
    certificates = keys = None
    try:
        certificates = load_certificates(settings, before.certificates if before else None)
    except ConfigError as error:
        problems += error.problems
    try:
        keys = load_keys(settings, before.keys if before else None, pause)
    except ConfigError as error:
        problems += error.problems
    if certificates is None or keys is None:
        raise ConfigError(problems)
    return KeyMaterial(certificates, keys)


class KeyMaterialBook:
    """Holds what is in force in a worker.

    Args:
        settings: Name the files.
        current: What they held at first.

    Attributes:
        current: All of it.
        certificates: The certificates in force.
        follow_keys: Called with the keys that replace others.
    """

    def __init__(self, settings: Settings, current: KeyMaterial) -> None:
        self._settings = settings
        self.current = current
        self.certificates = CertificateBook(current.certificates)
        self.follow_keys: Callable[[Keys], object] = _ignore

    def read(self) -> KeyMaterial:
        """What the files hold now. Blocks, and lets the event loop have its turns.

        Raises:
            ConfigError: they cannot be used.
        """
        return load_key_material(self._settings, self.current, partial(time.sleep, _PAUSE))

    def replace(self, material: KeyMaterial) -> None:
        """Use other certificates for new connections, and other keys, from now on."""
        self.current = material
        self.certificates.replace(material.certificates)
        self.follow_keys(material.keys)


def _ignore(_keys: Keys) -> None:
    pass
