"""`KeySetCopy`: what is known of an issuer's keys, on disk: for the other workers, and for the next start."""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from gateway.config.strict_json import parse_strict_json
from gateway.control.durable_file import replace_file
from gateway.control.key_sets.known import KnownKeys
from gateway.settings.token_key import Jwks


class KeySetCopy:
    """The copy of one key set.

    Args:
        jwks: Which.
        folder: Where the copies of this gateway are.
    """

    def __init__(self, jwks: Jwks, folder: Path) -> None:
        self._jwks = jwks
        name = sha256(f"{jwks.url} {' '.join(jwks.algorithms)}".encode()).hexdigest()[:16]
        self.file = folder / f"jwks-{name}.json"
        self._seen: tuple[int, int, int] | None = None

    def read_if_changed(self) -> KnownKeys | None:
        """What is known, if it was written since it was last read or written here. Blocks.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged.
        """
        try:
            seen = self._look()
            if seen == self._seen:
                return None
            self._seen = seen
            content = self.file.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return KnownKeys.of_document(parse_strict_json(content), self._jwks)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("it is not a copy of keys") from error

    def write(self, known: KnownKeys) -> None:
        """Replace what is known. It is on disk when this returns. Blocks.

        Raises:
            OSError: it cannot be written.
        """
        replace_file(self.file, [json.dumps(known.document(self._jwks.url or "")).encode()])
        self._seen = self._look()

    def _look(self) -> tuple[int, int, int]:
        found = self.file.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    @asynccontextmanager
    async def locked(self, *, wait: bool) -> AsyncIterator[bool]:
        """Hold a lock that only one worker can hold, while the block runs. It ends with the process that holds it.

        Yields whether it is held; without `wait`, it is not if another worker holds it.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            held = True
            try:
                await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                held = False
            yield held
        finally:
            os.close(descriptor)
