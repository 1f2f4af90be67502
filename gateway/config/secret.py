"""`Secret`: never written in a YAML file. A key that ends in ``_file`` or ``_env`` says where it is.

No message shows the value of such a key: somebody who mistakes `password_env` for `password` has written a password.
"""

import os
from dataclasses import dataclass

from gateway.config.entries import Entries
from gateway.config.location import path
from gateway.config.node import Node
from gateway.config.reader import Reader, reads, scalar
from gateway.config.scalar import text


@reads("file", scalar())
def secret_file(node: Node) -> bytes:
    """The content of a file, without the line break at its end."""
    _refuse_variables(node)
    try:
        with path(node).open("rb") as file:
            secret = file.read(65_536).rstrip(b"\r\n")
    except OSError as error:
        folder, reason = node.source.folder, error.strerror or error
        raise node.refuse(f"the file named here, relative to {folder}, cannot be read: {reason}") from None
    if not secret:
        raise node.refuse("the file named here is empty")
    return secret


@reads("environment variable", scalar())
def secret_env(node: Node) -> bytes:
    """The value of an environment variable."""
    _refuse_variables(node)
    secret = os.environ.get(text(node), "")
    if not secret:
        raise node.refuse("the environment variable named here is not set")
    return os.fsencode(secret)


def _refuse_variables(node: Node) -> None:
    """A secret that was written as ``${NAME}`` would be taken for a name, and shown in messages."""
    if node.has_variables:
        raise node.refuse(
            "this key takes no ${...}; write the file's path, or name the variable in the key that ends in _env"
        )


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of a section.

    Attributes:
        name: What its two keys start with.
        what: What it is, for the docs: "Redis' password".
    """

    name: str
    what: str

    @property
    def pair(self) -> tuple[str, str]:
        """The two keys, of which one may be given."""
        return f"{self.name}_file", f"{self.name}_env"

    @property
    def keys(self) -> dict[str, Reader[bytes]]:
        """The two keys, and how each is read."""
        return dict(zip(self.pair, (secret_file, secret_env), strict=True))

    @property
    def meanings(self) -> dict[str, str]:
        """What the two keys mean."""
        file, env = self.pair
        return {
            file: f"A file that holds {self.what}.",
            env: f"The environment variable that holds {self.what}; instead of `{file}`.",
        }

    def pick(self, entries: Entries) -> bytes | None:
        """The secret, None if it is not given. Its keys are taken out of the values read."""
        key = entries.one_of(*self.pair)
        found = [entries.values.pop(spelling, None) for spelling in self.pair]
        return next((secret for secret in found if secret is not None), None) if key else None

    def pick_text(self, entries: Entries) -> str | None:
        """The secret as text."""
        secret = self.pick(entries)
        try:
            return None if secret is None else secret.decode()
        except UnicodeDecodeError:
            raise entries.node.refuse(f"the {self.name} is not UTF-8") from None
