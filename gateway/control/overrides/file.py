"""`OverrideFile`: overrides in a file that only its owner may read, replaced as a whole and so never half written."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from gateway.auth.strict_json import StrictJsonError, parse_strict_json


class OverrideFile:
    """Overrides by the digests of users, in a file. All methods block.

    Args:
        file: Where.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict[str, str]:
        """What stands there; nothing when there is no file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged. The message quotes nothing of it.
        """
        try:
            found = parse_strict_json(self.file.read_bytes())
        except FileNotFoundError:
            return {}
        if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
            raise StrictJsonError("it holds no overrides")
        return found

    def write(self, texts: Mapping[str, str]) -> None:
        """Put these in the place of what stands there. They are on disk when this returns.

        Raises:
            OSError: it cannot be written, and is as it was.
        """
        folder = self.file.parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.file.with_suffix(f".{os.getpid()}")  # of this process alone: others may write, too
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(json.dumps(texts).encode())
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(self.file)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
