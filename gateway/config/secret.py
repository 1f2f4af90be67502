"""Reads secrets, which stand in no YAML file: a key ends in ``_file`` or in ``_env`` and says where the secret is.

No message shows what such a key says: whoever takes `password_env` for `password` has written a password there.
"""

import os

from gateway.config.fields import Fields
from gateway.config.node import Node
from gateway.config.scalar import Reader, path, text


def secret_file(node: Node) -> bytes:
    """The content of a file, without the line break at its end."""
    try:
        with path(node).open("rb") as file:
            secret = file.read(65_536).rstrip(b"\r\n")
    except OSError as error:
        folder, reason = node.source.folder, error.strerror or error
        raise node.refuse(f"the file named here, seen from {folder}, cannot be read: {reason}") from None
    if not secret:
        raise node.refuse("the file named here is empty")
    return secret


def secret_env(node: Node) -> bytes:
    """The value of an environment variable."""
    secret = os.environ.get(text(node), "")
    if not secret:
        raise node.refuse("the environment variable named here is not set")
    return os.fsencode(secret)


def secret_keys(name: str) -> dict[str, Reader]:
    """The two keys that say where the secret called `name` is."""
    return {f"{name}_file": secret_file, f"{name}_env": secret_env}


def pick_secret(fields: Fields, name: str) -> bytes | None:
    """The secret called `name`; None when neither key stands there. Its keys are taken out of the values read."""
    key = fields.one_of(f"{name}_file", f"{name}_env")
    found = [fields.values.pop(spelling, None) for spelling in (f"{name}_file", f"{name}_env")]
    return next((secret for secret in found if secret is not None), None) if key else None


def pick_password(fields: Fields) -> str | None:
    """The secret called ``password`` as text."""
    password = pick_secret(fields, "password")
    if password is None:
        return None
    try:
        return password.decode()
    except UnicodeDecodeError:
        raise fields.node.refuse("the password is not UTF-8") from None
